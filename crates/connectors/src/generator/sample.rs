//! The distribution of events: sample n of a seed, made without making the ones before it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Event;

const NOVEL: f64 = 0.6;
const ADD: f64 = 0.7;
const VALUE: f64 = 0.1;
const SKEW: f64 = 1.1;
const RESERVOIR_SAMPLES: u64 = 20_000;
const DEVIATIONS_MAX: f64 = 10.0;

/// Where in a document's stream its sample begins: behind the identifier and the value.
const SAMPLE_WORD: u128 = 16;

/// What an event says: that a user is or is not in a segment. Segments and users count from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) segment: u64,
    pub(super) user: u64,
    pub(super) add: bool,
}

/// All samples of a seed.
pub(super) struct Samples {
    streams: ChaCha8Rng,
    segments: Zipf,
    users: u64,
}

impl Samples {
    pub(super) fn new(seed: u64, segments: u64, users: u64) -> Self {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&seed.to_le_bytes());
        }
        Self { streams: ChaCha8Rng::from_seed(key), segments: Zipf::new(segments), users }
    }

    /// Document n: its own identifier and value, and a sample that may be another's.
    pub(super) fn event(&self, n: u64) -> Event {
        let mut random = self.stream(n, 0);
        let mut id = [0; 16];
        random.fill_bytes(&mut id);
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let valued = unit(&mut random) < VALUE;
        let value = random.next_u32() % 1000;
        let sample = self.sample(n);
        Event { id, sample, value: (valued && sample.add).then_some(value) }
    }

    fn sample(&self, mut n: u64) -> Sample {
        loop {
            let mut random = self.stream(n, SAMPLE_WORD);
            if unit(&mut random) < NOVEL || n == 0 {
                return self.novel(&mut random);
            }
            n -= 1 + random.next_u64() % n.min(RESERVOIR_SAMPLES);
        }
    }

    fn novel(&self, random: &mut ChaCha8Rng) -> Sample {
        let segment = self.segments.draw(random);
        // Box and Muller: a normal deviate of two uniform ones, of which the positive half is wanted.
        let radius = (-2.0 * (1.0 - unit(random)).ln()).sqrt();
        let deviations = (radius * (std::f64::consts::TAU * unit(random)).cos()).abs();
        let user = (deviations / DEVIATIONS_MAX * self.users as f64) as u64;
        Sample { segment, user: user.min(self.users - 1), add: unit(random) < ADD }
    }

    fn stream(&self, n: u64, word: u128) -> ChaCha8Rng {
        let mut random = self.streams.clone();
        random.set_stream(n);
        random.set_word_pos(word);
        random
    }
}

/// Uniform in [0, 1).
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Zipf's law over `0..count`: the probability of k falls as (k + 1)^-1.1. Drawn by rejection-inversion (Hörmann and
/// Derflinger 1996), which needs no table: the area under the smooth curve is inverted, and what lies outside the bars is
/// drawn again.
struct Zipf {
    last: f64,
    area_first: f64,
    area_last: f64,
    accept: f64,
}

impl Zipf {
    fn new(count: u64) -> Self {
        Self {
            last: count as f64,
            area_first: area(1.5) - 1.0,
            area_last: area(count as f64 + 0.5),
            accept: 2.0 - inverse_area(area(2.5) - bar(2.0)),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> u64 {
        loop {
            let u = self.area_last + unit(random) * (self.area_first - self.area_last);
            let x = inverse_area(u);
            let k = x.round().clamp(1.0, self.last);
            if k - x <= self.accept || u >= area(k + 0.5) - bar(k) {
                return k as u64 - 1;
            }
        }
    }
}

/// The height of bar k, counted from one.
fn bar(k: f64) -> f64 {
    k.powf(-SKEW)
}

/// The integral of `x^-SKEW`, up to a constant.
fn area(x: f64) -> f64 {
    x.powf(1.0 - SKEW) / (1.0 - SKEW)
}

fn inverse_area(area: f64) -> f64 {
    (area * (1.0 - SKEW)).powf(1.0 / (1.0 - SKEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 100_000;

    #[test]
    fn zipf_follows_its_law() {
        for count in [1, 2, 3, 10, 1000] {
            let zipf = Zipf::new(count);
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let mut seen = vec![0_u64; count as usize];
            (0..DRAWS).for_each(|_| seen[zipf.draw(&mut random) as usize] += 1);
            let total: f64 = (1..=count).map(|k| bar(k as f64)).sum();
            for k in 0..count.min(10) {
                let expected = bar(k as f64 + 1.0) / total;
                let share = seen[k as usize] as f64 / DRAWS as f64;
                assert!((share - expected).abs() < 0.01, "{count}: {k} came {share}, not {expected}");
            }
        }
    }

    #[test]
    fn samples_keep_the_shares() {
        let samples = Samples::new(42, 1000, 10_000);
        let all: Vec<Event> = (0..DRAWS).map(|n| samples.event(n)).collect();
        let share = |count: usize| count as f64 / DRAWS as f64;

        let adds = share(all.iter().filter(|event| event.sample.add).count());
        assert!((adds - ADD).abs() < 0.01, "adds: {adds}");
        let values = share(all.iter().filter(|event| event.value.is_some()).count());
        assert!((values - ADD * VALUE).abs() < 0.01, "values: {values}");
        assert!(all.iter().all(|event| event.value.is_none() || event.sample.add));

        let repeats = (0..DRAWS).filter(|n| unit(&mut samples.stream(*n, SAMPLE_WORD)) >= NOVEL).count();
        assert!((share(repeats) - 0.4).abs() < 0.01, "repeats: {}", share(repeats));

        // Half of a normal distribution lies within 0.674 deviations, each a tenth of the users.
        let near = share(all.iter().filter(|event| event.sample.user < 674).count());
        assert!((near - 0.5).abs() < 0.02, "users within the quartile: {near}");

        let ids: std::collections::HashSet<_> = all.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn a_sample_needs_no_others() {
        let (one, other) = (Samples::new(7, 100, 100), Samples::new(7, 100, 100));
        let forward: Vec<Event> = (0..1000).map(|n| one.event(n)).collect();
        let backward: Vec<Event> = (0..1000).rev().map(|n| other.event(n)).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        assert_ne!(Samples::new(8, 100, 100).event(0), forward[0]);
    }
}
