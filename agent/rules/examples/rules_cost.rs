//! What the rules that come with Cordon cost a story, and which of them match how often. Reads stories, one a line:
//! `zstdcat tests/recordings/*.zst | jq -c .story | cargo run -p cordon-rules --example rules_cost`.
#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]
#![expect(clippy::disallowed_methods, reason = "measures")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::BufRead as _;
use std::time::Instant;

use cordon_behavior::story::Story;
use cordon_rules::RuleSetBuilder;

const ROUNDS: u32 = 5;

fn main() {
    let began = Instant::now();
    let set = RuleSetBuilder::new().embedded().build();
    println!("{} rules, read in {:?}", set.rules().len(), began.elapsed());
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let stories: Vec<Story> = lines
        .filter_map(|line| Story::from_json(line.as_bytes()).ok())
        .collect();
    let mut micros = Vec::with_capacity(stories.len());
    let mut matched: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut stories_by: BTreeMap<&str, usize> = BTreeMap::new();
    for story in &stories {
        // The best of some: on a busy machine the others tell of the neighbours.
        let once = || {
            let began = Instant::now();
            black_box(set.matches(black_box(story)));
            began.elapsed().as_secs_f64() * 1e6
        };
        micros.push((0..ROUNDS).map(|_| once()).fold(f64::MAX, f64::min));
        let found = set.matches(story).found;
        let worst = found
            .first()
            .map_or("nothing", |found| found.rule.level.name());
        *stories_by.entry(worst).or_default() += 1;
        for found in found {
            let rule = found.rule;
            *matched.entry((rule.level.name(), &rule.title)).or_default() += 1;
        }
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = ((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1));
        micros.get(place).copied().unwrap_or_default()
    };
    println!(
        "{} stories: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us, most {:.1} us",
        stories.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    println!("the worst that matches: {stories_by:?}");
    for ((level, title), count) in matched {
        println!("{count:>7}  {level:<8} {title}");
    }
}
