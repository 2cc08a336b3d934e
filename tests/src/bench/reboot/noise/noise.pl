#!/usr/bin/perl
# Sends to one host over and over, in every way there is: sockets of either family, raw ones, and frames on every device.
# What cannot be sent is tried again. /run/noise-NAME has the number of tries.
use strict;
use warnings;
use Socket qw(:DEFAULT :addrinfo inet_pton pack_sockaddr_in6 SOCK_NONBLOCK IPPROTO_RAW IPPROTO_ICMP IPPROTO_ICMPV6);

my ($name, $v4, $v6, $port, $icmp, $icmp6, $protocol, $ethertype) = @ARGV;
$ethertype = oct $ethertype;
# Own addresses, for headers that are made here. What the kernel thinks of them does not matter.
my ($own4, $own6) = map { inet_pton($_->[0], $_->[1]) } [AF_INET, '10.99.0.11'], [AF_INET6, 'fd99::11'];
my ($to4, $to6) = (inet_pton(AF_INET, $v4), inet_pton(AF_INET6, $v6));
my $AF_PACKET = 17;

sub checksum {
	my $sum = unpack '%32n*', shift;
	$sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
	return ~$sum & 0xffff;
}

sub ipv4 {
	my ($protocol, $rest) = @_;
	my @head = (0x45, 0, 20 + length $rest, 0, 0, 64, $protocol);
	my $sum = checksum(pack 'CCnnnCCna4a4', @head, 0, $own4, $to4);
	return pack('CCnnnCCna4a4', @head, $sum, $own4, $to4) . $rest;
}

sub ipv6 {
	my ($protocol, $rest) = @_;
	return pack('NnCCa16a16', 0x60000000, length $rest, $protocol, 64, $own6, $to6) . $rest;
}

sub udp { return pack 'nnnn', $port, shift, 8, 0 }

sub echo {
	my $kind = shift;
	my $message = pack 'CCnnna12', $kind, 0, 0, 1, 1, '';
	substr($message, 2, 2) = pack 'n', checksum($message) if $kind < 128;
	return $message;
}

# A socket may not be there yet, or not any more.
my %sockets;
sub through {
	my ($family, $type, $protocol, $message, $to) = @_;
	my $key = "$family $type $protocol";
	if (!$sockets{$key}) {
		socket(my $new, $family, $type, $protocol) or return;
		$sockets{$key} = $new;
	}
	send $sockets{$key}, $message, 0, $to;
}

sub call {
	my ($family, $to) = @_;
	socket(my $new, $family, SOCK_STREAM | SOCK_NONBLOCK, 0) or return;
	connect $new, $to;
}

sub line {
	open my $file, '<', shift or return;
	my $line = <$file>;
	chomp $line if defined $line;
	return $line;
}

my @devices;
sub devices {
	@devices = ();
	for my $folder (glob '/sys/class/net/*') {
		next if $folder =~ m{/lo$};
		my ($index, $address) = (line("$folder/ifindex"), line("$folder/address"));
		next unless $index && $address;
		push @devices, [$index, pack 'H2' x 6, split /:/, $address];
	}
}

sub frame {
	my ($kind, $packet) = @_;
	for my $device (@devices) {
		my ($index, $address) = @$device;
		my $to = pack 'SniSCCa8', $AF_PACKET, $kind, $index, 1, 0, 6, "\xff" x 6;
		through($AF_PACKET, SOCK_RAW, 0, pack('a6a6n', "\xff" x 6, $address, $kind) . $packet, $to);
	}
}

sub in4 { return pack_sockaddr_in(shift, $to4) }
sub in6 { return pack_sockaddr_in6(shift, $to6) }
my @ways = (
	sub { through(AF_INET, SOCK_DGRAM, 0, 'noise', in4($port)) },
	sub { through(AF_INET6, SOCK_DGRAM, 0, 'noise', in6($port)) },
	sub { call(AF_INET, in4($port)) },
	sub { call(AF_INET6, in6($port)) },
	sub { through(AF_INET, SOCK_RAW, IPPROTO_ICMP, echo($icmp), in4(0)) },
	sub { through(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, echo($icmp6), in6(0)) },
	sub { through(AF_INET, SOCK_RAW, IPPROTO_RAW, ipv4($protocol, 'noise'), in4(0)) },
	sub { through(AF_INET6, SOCK_RAW, IPPROTO_RAW, ipv6($protocol, 'noise'), in6(0)) },
	sub { frame(0x0800, ipv4(17, udp($port + 1))) },
	sub { frame(0x86dd, ipv6(17, udp($port + 1))) },
	sub { frame($ethertype, 'noise' x 10) },
);

$SIG{PIPE} = 'IGNORE';
my $rounds = 0;
while (1) {
	devices() if $rounds % 8 == 0;
	$_->() for @ways;
	if (++$rounds % 64 == 0 && open my $file, '>', "/run/noise-$name.new") {
		print $file $rounds * @ways;
		close $file;
		rename "/run/noise-$name.new", "/run/noise-$name";
	}
	# Leaves the emulated cores to the others too.
	select undef, undef, undef, 0.001;
}
