//! What there is to learn from labels, with nobody's labels moving others further than they may.

use super::labels::Label;
use super::report::HostReport;
use super::solve::{self, Point};
use super::{CAP, HOST_CAP, MOST_LIFT};

/// Keeps the layer near what it was.
const RIDGE: f64 = 1.0;
/// Rounds in which the labels of a host that moves others too far are made lighter; then they do not count at all.
const ROUNDS: usize = 8;

/// What was learned: a step of the last layer, and how it came about.
pub(super) struct Learned {
    /// Of [`super::reading::Reading::features`].
    pub theta: Vec<f64>,
    pub own_weight: f64,
    pub hosts: Vec<HostReport>,
    /// How far a story is moved, at most.
    pub furthest: f64,
}

impl Learned {
    /// A share of it, with both offsets moved by `lift` beside that.
    pub fn step(&self, share: f64, lift: f64) -> Vec<f64> {
        let mut step: Vec<f64> = self.theta.iter().map(|value| value * share).collect();
        let forms = step.len() - 2;
        for offset in &mut step[forms..] {
            *offset += lift;
        }
        step
    }
}

/// Our own stories, then the labels, and what each host's labels weigh.
pub(super) struct Fit<'a> {
    pub labels: &'a [Label],
    /// `kept` of our own, then one of each label.
    pub points: Vec<Point>,
    /// Nothing is fitted on them.
    pub others: Vec<Point>,
    pub kept: usize,
    pub scale: f64,
}

impl Fit<'_> {
    /// What there is to learn while our own stories weigh so much together, within [`CAP`].
    pub fn learn(&self, own_weight: f64) -> Learned {
        let (theta, hosts) = self.bounded(own_weight);
        let furthest = self.furthest(&theta, &[], "");
        let most = CAP - MOST_LIFT;
        let allowed = if furthest > most {
            most / furthest
        } else {
            1.0
        };
        Learned {
            theta: theta.iter().map(|value| value * allowed).collect(),
            own_weight,
            hosts,
            furthest: furthest * allowed,
        }
    }

    /// The step, and how far each host moves others: each of them at most [`HOST_CAP`].
    fn bounded(&self, own_weight: f64) -> (Vec<f64>, Vec<HostReport>) {
        let mut hosts: Vec<HostReport> = Vec::new();
        for label in self.labels {
            match hosts.iter_mut().find(|host| host.host == label.host) {
                Some(host) => host.labels += 1,
                None => hosts.push(HostReport::new(&label.host)),
            }
        }
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        let size = self.points.first().map_or(0, |point| point.features.len());
        let mut theta = vec![0.0; size];
        let most = HOST_CAP - MOST_LIFT;
        for round in 0.. {
            theta = solve::fit(
                &self.points,
                &self.weights(&hosts, "", own_weight),
                RIDGE,
                &theta,
            );
            let mut is_over = false;
            for index in 0..hosts.len() {
                if hosts[index].weight <= 0.0 {
                    hosts[index].moves = 0.0;
                    continue;
                }
                let name = hosts[index].host.clone();
                let without = self.weights(&hosts, &name, own_weight);
                let without = solve::fit(&self.points, &without, RIDGE, &theta);
                hosts[index].moves = self.furthest(&theta, &without, &name);
            }
            for host in hosts.iter_mut().filter(|host| host.moves > most) {
                is_over = true;
                host.weight *= if round < ROUNDS {
                    0.9 * most / host.moves
                } else {
                    0.0
                };
            }
            if !is_over {
                break;
            }
        }
        (theta, hosts)
    }

    /// What each point weighs, without those of the host `but`.
    fn weights(&self, hosts: &[HostReport], but: &str, own_weight: f64) -> Vec<f64> {
        let kept = own_weight / self.kept.max(1) as f64;
        let of = |label: &Label| {
            let host = hosts.iter().find(|host| host.host == label.host);
            host.filter(|host| host.host != but)
                .map_or(0.0, |host| host.weight)
        };
        let told = self.labels.iter().map(of);
        std::iter::repeat_n(kept, self.kept).chain(told).collect()
    }

    /// How far two steps put a story apart at most, those of the host `but` aside. No step at all is `&[]`.
    fn furthest(&self, one: &[f64], other: &[f64], but: &str) -> f64 {
        let told = self.labels.iter().zip(&self.points[self.kept..]);
        let told = told
            .filter(|(label, _)| label.host != but)
            .map(|(_, point)| point);
        let own = self.points[..self.kept].iter().chain(&self.others);
        own.chain(told)
            .map(|point| (point.moved(one) - point.moved(other)).abs())
            .fold(0.0, f64::max)
    }
}
