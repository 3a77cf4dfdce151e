//! Two answers of a sensor, and what grew between them.

use crate::words::printable;
use serde_json::{Map, Value, json};

/// The newest answer and the one before.
#[derive(Debug, Default)]
pub(super) struct Looks {
    newest: Value,
    before: Value,
    /// Why the newest is old.
    lost: Option<String>,
}

impl Looks {
    /// Takes an answer. One that the sensor gave before says nothing new.
    pub fn take(&mut self, mut answer: Value) {
        disarm(&mut answer);
        self.lost = None;
        if answer["at_s"] != self.newest["at_s"] {
            self.before = std::mem::replace(&mut self.newest, answer);
        } else {
            self.newest = answer;
        }
    }

    /// The sensor did not answer, for this reason.
    pub fn lose(&mut self, why: &str) {
        self.lost = Some(printable(why).into_owned());
    }

    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The newest answer.
    pub fn newest(&self) -> &Value {
        &self.newest
    }

    /// Seconds between the two; `None`: there is one, or the sensor began anew.
    fn seconds(&self) -> Option<f64> {
        let up = |of: &Value| of["up_s"].as_f64();
        let at = |of: &Value| of["at_s"].as_f64();
        let (new, old) = (at(&self.newest)?, at(&self.before)?);
        let same_run = up(&self.newest)? >= up(&self.before)?;
        (same_run && new > old).then_some(new - old)
    }

    /// How much a number at this place grew in a second.
    pub fn rate(&self, pointer: &str) -> Option<f64> {
        let number = |of: &Value| of.pointer(pointer).and_then(Value::as_u64);
        let grown = number(&self.newest)?.checked_sub(number(&self.before)?)?;
        Some(grown as f64 / self.seconds()?)
    }

    /// The newest answer with the rates of all counters and workers.
    pub fn as_json(&self) -> Value {
        let mut all = self.newest.clone();
        let mut rates = Map::new();
        for name in names(&self.newest["counters"]) {
            rates.insert(name.clone(), json!(self.rate(&format!("/counters/{name}"))));
        }
        all["rates"] = Value::Object(rates);
        let workers = self.newest["workers"].as_array().map_or(0, Vec::len);
        for at in 0..workers {
            let rate = self.rate(&format!("/workers/{at}/frames"));
            all["workers"][at]["frames_rate"] = json!(rate);
        }
        all
    }
}

/// Replaces what commands a terminal: whoever answers may say anything.
fn disarm(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text).replace('\n', "_"),
        Value::Array(all) => all.iter_mut().for_each(disarm),
        Value::Object(all) => all.values_mut().for_each(disarm),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn names(object: &Value) -> Vec<String> {
    let object = object.as_object();
    object.map_or_else(Vec::new, |object| object.keys().cloned().collect())
}
