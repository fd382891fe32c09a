//! What stands at the end of partitions.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{ATTRIBUTE, QUESTION_TIME_MAX};

/// How long is read at most.
const READING_TIME_MAX: Duration = Duration::from_secs(120);

/// How far the broker's clock may be ahead of the database's, where it writes its own moments.
const SKEW: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

fn consumer(config: &ClientConfig) -> Result<BaseConsumer, String> {
    let mut config = config.clone();
    // No group is joined: partitions are named.
    config.set("group.id", "argus-tail").set("enable.auto.commit", "false").set("enable.partition.eof", "false");
    config.create().map_err(|error| error.to_string())
}

/// How many partitions these topics have; those that are not there are left out.
pub(super) fn partitions(config: &ClientConfig, topics: &[String]) -> Result<HashMap<String, i32>, String> {
    let consumer = consumer(config)?;
    let metadata = consumer.fetch_metadata(None, QUESTION_TIME_MAX).map_err(|error| error.to_string())?;
    let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let named = there.filter(|topic| topics.iter().any(|name| name == topic.name()));
    Ok(named.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect())
}

/// Which of these ids stand in the topics, as far as they were written since a moment.
pub(super) fn read(
    config: &ClientConfig,
    topics: &HashSet<String>,
    since: DateTime<Utc>,
    wanted: &HashSet<String>,
) -> Result<HashSet<String>, String> {
    let told = |error: rdkafka::error::KafkaError| error.to_string();
    let consumer = consumer(config)?;
    let names: Vec<String> = topics.iter().cloned().collect();
    let mut asked = TopicPartitionList::new();
    for (topic, partitions) in partitions(config, &names)? {
        for partition in 0..partitions {
            let moment = Offset::Offset((since - SKEW).timestamp_millis());
            asked.add_partition_offset(&topic, partition, moment).map_err(told)?;
        }
    }
    let begins = consumer.offsets_for_times(asked, QUESTION_TIME_MAX).map_err(told)?;
    let mut from = TopicPartitionList::new();
    let mut ends: HashMap<(String, i32), i64> = HashMap::new();
    for element in begins.elements() {
        // None was written since.
        let Offset::Offset(begin) = element.offset() else { continue };
        let (topic, partition) = (element.topic(), element.partition());
        let (_, end) = consumer.fetch_watermarks(topic, partition, QUESTION_TIME_MAX).map_err(told)?;
        if begin < end {
            from.add_partition_offset(topic, partition, Offset::Offset(begin)).map_err(told)?;
            ends.insert((topic.to_owned(), partition), end);
        }
    }
    consumer.assign(&from).map_err(told)?;
    let (started, mut found) = (Instant::now(), HashSet::new());
    let id = format!("{ATTRIBUTE}id");
    while !ends.is_empty() {
        if started.elapsed() > READING_TIME_MAX {
            return Err(format!("the ends of {} partitions were not reached within {READING_TIME_MAX:?}", ends.len()));
        }
        let message = match consumer.poll(Duration::from_millis(500)) {
            None => continue,
            Some(message) => message.map_err(told)?,
        };
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let mut ids =
            headers.filter(|header| header.key == id).filter_map(|header| std::str::from_utf8(header.value?).ok());
        if let Some(id) = ids.next().filter(|id| wanted.contains(*id)) {
            found.insert(id.to_owned());
        }
        let place = (message.topic().to_owned(), message.partition());
        if ends.get(&place).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&place);
        }
    }
    Ok(found)
}
