//! How often somebody may come: a bucket of tokens for each, of which one is taken each time, and which fills up again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Buckets of those who have come lately.
#[derive(Debug)]
pub(super) struct Rates<K> {
    buckets: HashMap<K, Bucket>,
    /// The one that all share for whom there is no room.
    others: Bucket,
    burst: f64,
    per_second: f64,
    keys_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, now: Instant, burst: f64, per_second: f64) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * per_second).min(burst)
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// So many at once, so many a second in the long run, and so many who are told apart.
    pub(super) fn new(burst: u32, per_second: f64, keys_max: usize, now: Instant) -> Rates<K> {
        let others = Bucket { tokens: burst.into(), at: now };
        Rates { buckets: HashMap::new(), others, burst: burst.into(), per_second, keys_max }
    }

    /// Takes a token of somebody's; or says after how long there is one.
    pub(super) fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let (burst, per_second) = (self.burst, self.per_second);
        if self.buckets.len() >= self.keys_max && !self.buckets.contains_key(&key) {
            // Those whose bucket is full are as if they had never come.
            self.buckets.retain(|_, bucket| bucket.filled(now, burst, per_second) < burst);
        }
        let bucket = match self.buckets.len() >= self.keys_max && !self.buckets.contains_key(&key) {
            true => &mut self.others,
            false => self.buckets.entry(key).or_insert(Bucket { tokens: burst, at: now }),
        };
        *bucket = Bucket { tokens: bucket.filled(now, burst, per_second), at: now };
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / per_second));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_too_often_has_to_wait_and_nobody_else() {
        let start = Instant::now();
        let mut rates = Rates::new(3, 0.5, 10, start);
        for _ in 0..3 {
            assert_eq!(rates.take("a", start), Ok(()));
        }
        assert_eq!(rates.take("a", start), Err(Duration::from_secs(2)));
        assert_eq!(rates.take("b", start), Ok(()));
        assert_eq!(rates.take("a", start + Duration::from_secs(1)), Err(Duration::from_secs(1)));
        assert_eq!(rates.take("a", start + Duration::from_secs(2)), Ok(()));
        // However long nobody came, there are never more than at the beginning.
        let later = start + Duration::from_secs(1000);
        assert_eq!((0..5).filter(|_| rates.take("a", later).is_ok()).count(), 3);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_others_share() {
        let start = Instant::now();
        let mut rates = Rates::new(2, 1.0, 2, start);
        assert!(rates.take(1, start).is_ok() && rates.take(2, start).is_ok());
        assert!(rates.take(3, start).is_ok() && rates.take(4, start).is_ok() && rates.take(5, start).is_err());
        assert!(rates.take(1, start).is_ok(), "those who have a place keep it");
        // Once their buckets are full again, there is room.
        let later = start + Duration::from_secs(5);
        assert!(rates.take(5, later).is_ok() && rates.take(5, later).is_ok() && rates.buckets.contains_key(&5));
    }
}
