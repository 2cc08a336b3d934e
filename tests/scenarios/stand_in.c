/*
 * A stand-in for the daemons under which work starts on a real host (sshd, cron, php-fpm, a CI runner, dpkg, ...).
 *
 * It is copied to the daemon's own path in the disposable node, so that the sensor sees a true image path and a true
 * lineage. It reads the chain of processes to build from /run/.p/plan, starts the next link with the standard
 * descriptors that link asks for, plays what is on the other side of them, waits, and leaves with the link's status.
 *
 * Records are separated by NUL, fields by 0x1f:
 *   exe uid cwd stdio types argv0 argv1 ...
 * stdio: inherit | null | pipe | unix | tty | file | inet:PORT. types: text that the other side writes, a line at a time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIELDS = 4096, PLAN_BYTES = 1 << 20 };
static char plan[PLAN_BYTES];

struct link {
    char *exe, *cwd, *stdio, *types;
    uid_t uid;
    char *argv[FIELDS];
};

static int read_link(int index, struct link *link)
{
    int fd = open("/run/.p/plan", O_RDONLY | O_CLOEXEC);
    ssize_t got = 0, n;
    while (fd >= 0 && (n = read(fd, plan + got, sizeof plan - 1 - got)) > 0)
        got += n;
    if (fd >= 0)
        close(fd);
    char *record = plan;
    for (; index > 0 && record < plan + got; index--)
        record += strlen(record) + 1;
    if (record >= plan + got)
        return -1;
    char *fields[FIELDS] = {0};
    int count = 0;
    for (char *rest = record; rest && count < FIELDS - 1; count++)
        fields[count] = strsep(&rest, "\x1f");
    if (count < 6)
        return -1;
    link->exe = fields[0];
    link->uid = (uid_t)atoi(fields[1]);
    link->cwd = fields[2];
    link->stdio = fields[3];
    link->types = fields[4];
    memcpy(link->argv, fields + 5, (count - 4) * sizeof *fields);
    return 0;
}

static int accepted(int port)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int yes = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4))
        return -1;
    int peer = accept(listener, NULL, NULL);
    close(listener);
    return peer;
}

static void become(uid_t uid)
{
    struct passwd *user = getpwuid(uid);
    if (user)
        initgroups(user->pw_name, user->pw_gid);
    if (uid && (setgid(user ? user->pw_gid : uid) || setuid(uid)))
        _exit(126);
    if (user) {
        setenv("HOME", user->pw_dir, 1);
        setenv("USER", user->pw_name, 1);
    }
}

static void run(struct link *link, int index)
{
    become(link->uid);
    if (chdir(link->cwd))
        (void)!chdir("/");
    if (index < 0) {
        unsetenv("_I");
    } else {
        char text[16];
        snprintf(text, sizeof text, "%d", index);
        setenv("_I", text, 1);
    }
    execv(link->exe, link->argv);
    _exit(127);
}

/* Writes the lines with a person's or a program's pace and drops what comes back. */
static void play(int in, int out, const char *types, pid_t child, int slow)
{
    char buffer[65536];
    const char *next = types;
    int turns = 0, status;
    for (;;) {
        struct pollfd ready = {.fd = out, .events = POLLIN};
        int got = poll(&ready, 1, slow ? 120 : 40);
        if (got > 0 && read(out, buffer, sizeof buffer) <= 0 && errno != EINTR)
            break;
        if (got > 0)
            continue;
        if (in >= 0 && *next && ++turns > 1) {
            const char *end = strchrnul(next, '\n');
            if (write(in, next, end - next) < 0 || write(in, "\n", 1) < 0)
                break;
            next = *end ? end + 1 : end;
        } else if (in >= 0 && !*next && turns > 3 && !slow) {
            shutdown(in, SHUT_WR);
            if (in != out)
                close(in);
            in = -1;
        } else {
            turns++;
        }
        if (waitpid(child, &status, WNOHANG) == child)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    }
}

/* Somebody in the work called a tool by a name that a stand-in has: the tool itself is what they meant. */
static void become_tool(char **argv)
{
    static const char *const places[] = {"/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"};
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    char own[4096] = "", path[4096];
    (void)!readlink("/proc/self/exe", own, sizeof own - 1);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s%s", places[i], name);
        if (strcmp(path, own) && !access(path, X_OK))
            execv(path, argv);
    }
    while (!strcmp(name, "sudo") && *++argv)
        if (**argv != '-')
            execvp(*argv, argv);
}

/* Rights over the machine rather than the node: nobody in the node has them, whatever his uid. */
static void give_up_the_machine(void)
{
    static const int rights[] = {CAP_SYS_MODULE, CAP_SYS_BOOT, CAP_SYS_TIME, CAP_SYS_RAWIO, CAP_SYSLOG};
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        prctl(PR_CAPBSET_DROP, rights[i], 0, 0, 0);
}

int main(int argc, char **argv)
{
    const char *at = getenv("_I");
    char own[64] = "";
    (void)!readlink("/proc/self/exe", own, sizeof own - 1);
    if (!at && argc > 0 && strcmp(own, "/run/.peer/start")) {
        become_tool(argv);
        return 0;
    }
    if (!at)
        give_up_the_machine();
    int index = (at ? atoi(at) : -1) + 1, status = 0;
    static struct link link, after;
    if (read_link(index, &link))
        return 0;
    int last = read_link(index + 1, &after) != 0;
    if (read_link(index, &link))
        return 0;
    int in = -1, out = -1, child_in = -1, child_out = -1, tty = !strcmp(link.stdio, "tty"), pair[2], back[2];
    if (!strcmp(link.stdio, "null")) {
        child_in = child_out = open("/dev/null", O_RDWR | O_CLOEXEC);
    } else if (!strcmp(link.stdio, "file")) {
        child_in = open("/dev/null", O_RDWR | O_CLOEXEC);
        child_out = open("/var/log/job.log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
    } else if (!strcmp(link.stdio, "pipe")) {
        if (pipe2(pair, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
            return 1;
        child_in = pair[0], in = pair[1], out = back[0], child_out = back[1];
    } else if (!strcmp(link.stdio, "unix")) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
            return 1;
        child_in = child_out = pair[0], in = out = pair[1];
    } else if (!strncmp(link.stdio, "inet:", 5)) {
        child_in = child_out = accepted(atoi(link.stdio + 5));
    } else if (tty) {
        if (openpty(&in, &child_in, NULL, NULL, NULL))
            return 1;
        fcntl(in, F_SETFD, FD_CLOEXEC);
        out = in, child_out = child_in;
    }
    pid_t child = fork();
    if (child == 0) {
        if (tty || !strcmp(link.stdio, "unix"))
            setsid();
        if (tty)
            ioctl(child_in, TIOCSCTTY, 0);
        if (child_in >= 0) {
            dup2(child_in, 0), dup2(child_out, 1), dup2(child_out, 2);
        }
        for (int fd = 3; fd < 20; fd++)
            close(fd);
        if (tty && link.uid)
            (void)!fchown(0, link.uid, -1);
        run(&link, last ? -1 : index);
    }
    if (child_in >= 0)
        close(child_in);
    if (child_out >= 0 && child_out != child_in)
        close(child_out);
    if (out >= 0)
        play(in, out, link.types, child, tty);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
