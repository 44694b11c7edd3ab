//! What can be subscribed, and on which paths.

use std::collections::HashMap;

use super::{
    Topic,
    error::{Problem, Target},
};

pub(super) const SUBSCRIBE: &str = "/dapr/subscribe";
pub(super) const CONFIG: &str = "/dapr/config";
pub(super) const HEALTHZ: &str = "/healthz";

/// No app has this many; daprd would take them, one request after the other.
pub(super) const MAX_TOPICS: usize = 1024;
const MAX_METADATA: usize = 64;
/// Names, routes and values of metadata, in bytes.
const MAX_NAME: usize = 512;
/// A condition, in bytes.
const MAX_CONDITION: usize = 4096;

/// The routes that are taken, and by what.
#[derive(Default)]
pub(super) struct Routes {
    taken: HashMap<String, Target>,
}

impl Routes {
    pub(super) fn take(&mut self, path: &str, target: &Target) -> Result<(), Problem> {
        let route = path.to_owned();
        if !is_plain_path(path) {
            return Err(Problem::NotAPath { route });
        }
        if [SUBSCRIBE, CONFIG, HEALTHZ].contains(&path) {
            return Err(Problem::Reserved { route });
        }
        if let Some(by) = self.taken.get(path) {
            return Err(Problem::Taken { route, by: by.clone() });
        }
        self.taken.insert(route, target.clone());
        Ok(())
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    match name.len() {
        0 => Err(Problem::NoName),
        1..=MAX_NAME => Ok(()),
        _ => Err(Problem::TooLong { what: "the name", limit: MAX_NAME }),
    }
}

pub(super) fn check_topic(topic: &Topic) -> Result<(), Problem> {
    if topic.pubsub.is_empty() {
        return Err(Problem::NoPubsub);
    }
    if topic.name.is_empty() {
        return Err(Problem::NoTopic);
    }
    if topic.metadata.len() > MAX_METADATA {
        return Err(Problem::TooMany { what: "entries of metadata", limit: MAX_METADATA });
    }
    let metadata = topic.metadata.iter().flat_map(|(key, value)| [("metadata", Some(key)), ("metadata", Some(value))]);
    for (what, text) in [
        ("the name of the pubsub component", Some(&topic.pubsub)),
        ("the name of the topic", Some(&topic.name)),
        ("the dead letter topic", topic.dead_letter.as_ref()),
        ("the route", topic.route.as_ref()),
    ]
    .into_iter()
    .chain(metadata)
    {
        if text.is_some_and(|text| text.len() > MAX_NAME) {
            return Err(Problem::TooLong { what, limit: MAX_NAME });
        }
    }
    if topic.when.as_ref().is_some_and(|when| when.trim().is_empty()) {
        return Err(Problem::NoCondition);
    }
    if topic.when.as_ref().is_some_and(|when| when.len() > MAX_CONDITION) {
        return Err(Problem::TooLong { what: "the condition", limit: MAX_CONDITION });
    }
    Ok(())
}

/// A path that stands for itself on the whole way: for axum (which reads `{x}` as a capture and refuses segments that
/// start with `:` or `*`), and for daprd (which cleans `.`, `..` and doubled slashes).
fn is_plain_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    rest.bytes().all(is_plain)
        && rest.split('/').all(|segment| !matches!(segment, "" | "." | "..") && !segment.starts_with([':', '*']))
}
