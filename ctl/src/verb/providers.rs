//! `providers`: which model APIs there are, and whether one can be asked.

use clap::Subcommand;
use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::provider::ProviderView;

use crate::Context;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::output::table::{Align, Table};

/// Model APIs that `--provider` can name
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Providers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists them with models, limits and places of keys; no key is shown
    List,
    /// Looks whether the configuration of one, or of those that it names, holds: endpoint, models, and whether there is a key; asks nobody
    Check {
        /// Otherwise all of the configuration
        #[arg(value_name = "PROVIDER")]
        names: Vec<String>,
    },
}

#[derive(Debug, Serialize)]
struct ProviderJson {
    name: String,
    endpoint: String,
    model: String,
    text_model: String,
    keys: Vec<KeyJson>,
    at_once: u32,
    calls_per_minute: Option<u32>,
    tokens_per_minute: Option<u64>,
    calls_per_day: Option<u32>,
    price_in: Option<f64>,
    price_out: Option<f64>,
    configured: bool,
    ready: bool,
}

#[derive(Debug, Serialize)]
struct KeyJson {
    source: String,
    found: bool,
}

fn is_ready(provider: &ProviderView) -> bool {
    provider.keys.is_empty() || provider.keys.iter().any(|(_, found)| *found)
}

impl From<&ProviderView> for ProviderJson {
    fn from(view: &ProviderView) -> Self {
        ProviderJson {
            name: view.name.clone(),
            endpoint: view.endpoint.clone(),
            model: view.model.clone(),
            text_model: view.text_model.clone(),
            keys: view.keys.iter().map(|(source, found)| KeyJson { source: source.clone(), found: *found }).collect(),
            at_once: view.at_once,
            calls_per_minute: view.calls_per_minute,
            tokens_per_minute: view.tokens_per_minute,
            calls_per_day: view.calls_per_day,
            price_in: view.price_in,
            price_out: view.price_out,
            configured: view.configured,
            ready: is_ready(view),
        }
    }
}

impl Providers {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let all = context.daemon.providers()?;
        let (shown, checks) = match self.verb {
            Verb::List => (all, false),
            Verb::Check { names } => {
                let mut named = named::configured("provider", all, |provider| &provider.name, &names)?;
                named.retain(|provider| !names.is_empty() || provider.configured);
                (named, true)
            }
        };
        context.console.either(
            || shown.iter().map(ProviderJson::from).collect::<Vec<_>>(),
            || match shown.is_empty() {
                true => {
                    "the configuration names none; `spindlectl providers list` shows those that are known\n".to_owned()
                }
                false => table(&shown).render(context.console.colour),
            },
        )?;
        match checks && !shown.iter().all(is_ready) {
            true => Ok(exit::ERROR),
            false => Ok(exit::DONE),
        }
    }
}

fn table(providers: &[ProviderView]) -> Table {
    let mut table = Table::new(&[
        ("PROVIDER", Align::Left),
        ("MODELS", Align::Left),
        ("AT ONCE", Align::Right),
        ("A MINUTE", Align::Right),
        ("A DAY", Align::Right),
        ("KEY", Align::Left),
        ("ENDPOINT", Align::Left),
    ]);
    let limit = |most: Option<u32>| most.map_or("any".to_owned(), |most| most.to_string());
    for provider in providers {
        let models = match provider.model == provider.text_model {
            true => provider.model.clone(),
            false => format!("{}, {}", provider.model, provider.text_model),
        };
        let keys: Vec<String> = provider
            .keys
            .iter()
            .map(|(source, found)| if *found { source.clone() } else { format!("{source} (nothing there)") })
            .collect();
        let keys = if keys.is_empty() { "none needed".to_owned() } else { keys.join(", ") };
        table.row(vec![
            human::escaped(&provider.name).into(),
            human::escaped(&models).into(),
            provider.at_once.to_string().into(),
            limit(provider.calls_per_minute).into(),
            limit(provider.calls_per_day).into(),
            human::escaped(&keys).into(),
            human::escaped(&provider.endpoint).into(),
        ]);
    }
    table
}
