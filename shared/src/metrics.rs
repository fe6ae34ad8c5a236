//! Metrics as data, and their text as Prometheus reads it. Knows no daemon: who measures names the values.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing measured, with a sample for each set of labels. Labels take their values from closed lists, never from names that users give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub kind: MetricKind,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// Only rises, from 0 at the daemon's start.
    Counter,
    Gauge,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl MetricKind {
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        }
    }
}

impl Metric {
    pub fn counter(name: &str, help: &str) -> Self {
        Metric { name: name.to_owned(), kind: MetricKind::Counter, help: help.to_owned(), samples: Vec::new() }
    }

    pub fn gauge(name: &str, help: &str) -> Self {
        Metric { kind: MetricKind::Gauge, ..Metric::counter(name, help) }
    }

    pub fn value(self, value: f64) -> Self {
        self.sample(&[], value)
    }

    pub fn sample(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value });
        self
    }

    /// A sample for each value of one label.
    pub fn each<'v>(self, label: &str, values: impl IntoIterator<Item = (&'v str, f64)>) -> Self {
        values.into_iter().fold(self, |metric, (name, value)| metric.sample(&[(label, name)], value))
    }
}

/// The text exposition format, version 0.0.4.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metric { name, kind, help, samples } = self;
        writeln!(f, "# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n"))?;
        writeln!(f, "# TYPE {name} {}", kind.name())?;
        for Sample { labels, value } in samples {
            f.write_str(name)?;
            for (at, (label, value)) in labels.iter().enumerate() {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                write!(f, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' })?;
            }
            writeln!(f, "{} {value}", if labels.is_empty() { "" } else { "}" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let metric = Metric::counter("spindle_x_total", "Back\\slash\nand line.")
            .value(3.0)
            .sample(&[("a", "1"), ("b", "say \"x\"\n\\")], 0.25);
        let text = "# HELP spindle_x_total Back\\\\slash\\nand line.\n# TYPE spindle_x_total counter\nspindle_x_total 3\n\
                    spindle_x_total{a=\"1\",b=\"say \\\"x\\\"\\n\\\\\"} 0.25\n";
        assert_eq!(metric.to_string(), text);
    }
}
