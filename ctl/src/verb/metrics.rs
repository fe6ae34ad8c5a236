//! `metrics`: what the daemon measures, as Prometheus reads it.

use std::collections::BTreeMap;

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::metrics::Metric;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use crate::Context;
use crate::fault::Fault;

/// Prints the daemon's metrics in the text format of Prometheus
///
/// Counters begin at 0 with the daemon. For a machine with Prometheus' node exporter: `spindlectl metrics >FILE.$$ && mv FILE.$$ FILE.prom`
/// in its folder of text files, from a timer.
#[derive(Debug, clap::Args)]
pub struct Metrics {}

#[derive(Serialize)]
struct MetricJson<'m> {
    name: &'m str,
    kind: &'static str,
    help: &'m str,
    samples: Vec<SampleJson<'m>>,
}

#[derive(Serialize)]
struct SampleJson<'m> {
    labels: BTreeMap<&'m str, &'m str>,
    value: f64,
}

impl Metrics {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let metrics: Vec<Metric> = context
            .daemon
            .ask(&Request::Metrics)?
            .into_iter()
            .filter_map(|response| if let Response::Metrics(metrics) = response { Some(metrics) } else { None })
            .flatten()
            .collect();
        if metrics.is_empty() {
            return Err(Fault::unexpected("its metrics"));
        }
        context.console.either(
            || metrics.iter().map(document).collect::<Vec<_>>(),
            || metrics.iter().map(ToString::to_string).collect(),
        )?;
        Ok(exit::DONE)
    }
}

fn document(metric: &Metric) -> MetricJson<'_> {
    let samples = metric.samples.iter().map(|sample| SampleJson {
        labels: sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        value: sample.value,
    });
    MetricJson { name: &metric.name, kind: metric.kind.name(), help: &metric.help, samples: samples.collect() }
}
