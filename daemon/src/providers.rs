//! Providers: the model APIs that Spindle knows and those of the configuration; names to endpoints, limits and places of keys. Reads no key
//! beyond whether there is one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spindle_core::api::Limits;
use spindle_core::scheduler::ApiConfig;
use spindle_shared::limits::{KEYS_MAX, NAME_BYTES_MAX};
use spindle_shared::provider::{Call, KeySource, ProviderRef, ProviderView};
use spindle_shared::stage::Stage;
use spindle_shared::text::escaped;
use spindle_shared::wire::response::{Refusal, RefusalKind};

/// A provider as the configuration has it; what is left out is as in its preset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnProvider {
    /// One that Spindle knows; default: the one of the section's name.
    pub preset: Option<String>,
    /// What `/chat/completions` is put behind.
    pub endpoint: Option<String>,
    /// Sees pictures.
    pub model: Option<String>,
    pub text_model: Option<String>,
    /// `env:VARIABLE`, `file:/PATH`, `credential:NAME`; several are used in turn.
    pub keys: Option<Vec<String>>,
    pub at_once: Option<u32>,
    /// 0 = any number.
    pub per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    pub per_day: Option<u32>,
    pub timeout_seconds: Option<u64>,
    /// For a million tokens.
    pub price_in: Option<f64>,
    pub price_out: Option<f64>,
    /// Whether it takes a schema for its answers.
    pub structured: Option<bool>,
    /// It may be asked without encryption though it is on another machine.
    pub trusted: bool,
}

/// One provider with everything filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub name: String,
    pub endpoint: String,
    pub model: String,
    pub text_model: String,
    /// Empty = it wants none.
    pub keys: Vec<KeySource>,
    pub limits: Limits,
    pub timeout_ms: u64,
    pub price_in: Option<f64>,
    pub price_out: Option<f64>,
    pub structured: bool,
    pub configured: bool,
}

struct Preset {
    name: &'static str,
    endpoint: &'static str,
    model: &'static str,
    text_model: &'static str,
    /// Variable of its key; empty = it wants none.
    key: &'static str,
    structured: bool,
}

/// Model names are those of the services at the time of writing; the configuration may name others.
const PRESETS: [Preset; 6] = [
    Preset {
        name: "dashscope",
        endpoint: "https://dashscope.aliyuncs.com/compatible-mode/v1",
        model: "qwen-vl-plus",
        text_model: "qwen-plus",
        key: "DASHSCOPE_API_KEY",
        structured: false,
    },
    Preset {
        name: "gemini",
        endpoint: "https://generativelanguage.googleapis.com/v1beta/openai",
        model: "gemini-2.5-flash",
        text_model: "gemini-2.5-flash",
        key: "GEMINI_API_KEY",
        structured: true,
    },
    Preset {
        name: "openai",
        endpoint: "https://api.openai.com/v1",
        model: "gpt-4o-mini",
        text_model: "gpt-4o-mini",
        key: "OPENAI_API_KEY",
        structured: true,
    },
    Preset {
        name: "ollama",
        endpoint: "http://127.0.0.1:11434/v1",
        model: "qwen2.5vl",
        text_model: "qwen2.5",
        key: "",
        structured: true,
    },
    Preset {
        name: "llama.cpp",
        endpoint: "http://127.0.0.1:8080/v1",
        model: "default",
        text_model: "default",
        key: "",
        structured: true,
    },
    Preset {
        name: "vllm",
        endpoint: "http://127.0.0.1:8000/v1",
        model: "Qwen/Qwen2.5-VL-7B-Instruct",
        text_model: "Qwen/Qwen2.5-VL-7B-Instruct",
        key: "",
        structured: true,
    },
];

/// All that can be named: the presets as they are or as the configuration has them, and the configuration's own.
pub fn all(own: &BTreeMap<String, OwnProvider>) -> Result<Vec<Provider>, String> {
    let plain = PRESETS.iter().filter(|preset| !own.contains_key(preset.name));
    let mut providers: Vec<Provider> =
        plain.map(|preset| provider(preset.name, &OwnProvider::default(), false)).collect::<Result<_, _>>()?;
    for (name, own) in own {
        providers.push(provider(name, own, true).map_err(|wrong| format!("providers.{}: {wrong}", escaped(name)))?);
    }
    providers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(providers)
}

fn provider(name: &str, own: &OwnProvider, configured: bool) -> Result<Provider, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) || name == "local" {
        return Err("a name is 1–32 of a–z, 0–9, ., - and _, and not `local`".to_owned());
    }
    let preset = match &own.preset {
        Some(wanted) => Some(
            PRESETS
                .iter()
                .find(|preset| preset.name == wanted)
                .ok_or_else(|| format!("preset = `{}` is none of {}", escaped(wanted), names(&PRESETS)))?,
        ),
        None => PRESETS.iter().find(|preset| preset.name == name),
    };
    let text = |own: &Option<String>, preset: Option<&str>, key: &str| match own.as_deref().or(preset) {
        Some(text) if !text.is_empty() && text.len() <= NAME_BYTES_MAX => Ok(text.to_owned()),
        Some(_) => Err(format!("{key} has 1–{NAME_BYTES_MAX} bytes")),
        None => Err(format!("{key} is missing, and no preset has one")),
    };
    let endpoint = text(&own.endpoint, preset.map(|preset| preset.endpoint), "endpoint")?;
    check_endpoint(&endpoint, own.trusted)?;
    let model = text(&own.model, preset.map(|preset| preset.model), "model")?;
    let usual = match &own.model {
        // Who names one model means it for everything.
        Some(_) => model.clone(),
        None => preset.map_or_else(|| model.clone(), |preset| preset.text_model.to_owned()),
    };
    let keys = match &own.keys {
        Some(keys) => keys.iter().map(|key| key.parse()).collect::<Result<Vec<KeySource>, _>>()?,
        None => preset
            .filter(|preset| !preset.key.is_empty())
            .map(|preset| KeySource::Environment(preset.key.to_owned()))
            .into_iter()
            .collect(),
    };
    if keys.len() > KEYS_MAX {
        return Err(format!("{} keys are more than {KEYS_MAX}", keys.len()));
    }
    // One's own machine has no bill to run up.
    let usual_limits = match keys.is_empty() && own.keys.is_none() {
        true => Limits { at_once: 2, calls_per_minute: u32::MAX, tokens_per_minute: None, calls_per_day: None },
        false => Limits::default(),
    };
    let limited = |value: Option<u32>, usual: Option<u32>| match value {
        Some(0) => None,
        Some(most) => Some(most),
        None => usual,
    };
    let limits = Limits {
        at_once: range("at_once", own.at_once.unwrap_or(usual_limits.at_once), 1, 64)?,
        calls_per_minute: limited(own.per_minute, Some(usual_limits.calls_per_minute)).unwrap_or(u32::MAX),
        tokens_per_minute: own.tokens_per_minute.filter(|tokens| *tokens > 0),
        calls_per_day: limited(own.per_day, usual_limits.calls_per_day),
    };
    let timeout = own.timeout_seconds.unwrap_or(300);
    if !(1..=840).contains(&timeout) {
        return Err(format!("timeout_seconds = {timeout} is outside 1–840"));
    }
    for (key, price) in [("price_in", own.price_in), ("price_out", own.price_out)] {
        if let Some(price) = price.filter(|price| !(0.0..=1e6).contains(price)) {
            return Err(format!("{key} = {price} is outside 0–1000000"));
        }
    }
    if own.price_in.is_some() != own.price_out.is_some() {
        return Err("price_in and price_out go together".to_owned());
    }
    Ok(Provider {
        name: name.to_owned(),
        endpoint,
        text_model: own.text_model.clone().unwrap_or(usual),
        model,
        keys,
        limits,
        timeout_ms: timeout * 1_000,
        price_in: own.price_in,
        price_out: own.price_out,
        structured: own.structured.unwrap_or(preset.is_none_or(|preset| preset.structured)),
        configured,
    })
}

fn range(key: &str, value: u32, least: u32, most: u32) -> Result<u32, String> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(format!("{key} = {value} is outside {least}–{most}")),
    }
}

fn names(presets: &[Preset]) -> String {
    presets.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}

/// Encrypted, or on this machine: a key and what is asked are nobody else's to read.
fn check_endpoint(endpoint: &str, trusted: bool) -> Result<(), String> {
    let shown = escaped(endpoint);
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(|| format!("endpoint {shown} is no address"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || endpoint.contains(['?', '#']) {
        return Err("endpoint holds no login and no query: keys stand in `keys`".to_owned());
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        _ if host.is_empty() => Err(format!("endpoint {shown} names no host")),
        "https" => Ok(()),
        "http" if here || trusted => Ok(()),
        "http" => Err(format!(
            "endpoint {shown} is not encrypted, and on another machine: take https, or say `trusted = true` where the network between is yours"
        )),
        _ => Err(format!("endpoint {shown} is neither https nor http")),
    }
}

impl Provider {
    /// For the scheduler.
    pub fn api(&self) -> ApiConfig {
        ApiConfig {
            limits: self.limits,
            keys: self.keys.len().max(1) as u32,
            price_in: self.price_in,
            price_out: self.price_out,
        }
    }

    /// How a run asks it, with the key of this number.
    pub fn call(&self, key: u32, stage: &Stage) -> Call {
        let answer_tokens = match stage {
            Stage::Write(write) => write.template.model.answer_tokens,
            _ => 4_096,
        };
        Call {
            provider: self.name.clone(),
            endpoint: self.endpoint.trim_end_matches('/').to_owned(),
            key: self.keys.get(key as usize).cloned(),
            structured: self.structured,
            timeout_ms: self.timeout_ms,
            answer_tokens,
            calls: stage.api().map_or(1, |(_, calls)| calls),
        }
    }

    pub fn view(&self) -> ProviderView {
        ProviderView {
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            model: self.model.clone(),
            text_model: self.text_model.clone(),
            keys: self.keys.iter().map(|key| (key.to_string(), is_there(key))).collect(),
            at_once: self.limits.at_once,
            calls_per_minute: Some(self.limits.calls_per_minute).filter(|most| *most < u32::MAX),
            tokens_per_minute: self.limits.tokens_per_minute,
            calls_per_day: self.limits.calls_per_day,
            price_in: self.price_in,
            price_out: self.price_out,
            configured: self.configured,
        }
    }
}

/// Whether something is where a key should be; what it is nobody looks at.
fn is_there(key: &KeySource) -> bool {
    let in_folder = |folder: Option<std::ffi::OsString>, name: &str| {
        folder.is_some_and(|folder| std::path::Path::new(&folder).join(name).is_file())
    };
    match key {
        KeySource::Environment(variable) => std::env::var_os(variable).is_some_and(|value| !value.is_empty()),
        KeySource::File(path) => path.as_path().is_file(),
        KeySource::Credential(name) => in_folder(std::env::var_os("CREDENTIALS_DIRECTORY"), name),
    }
}

/// Variables that hold keys: only who asks gets to see them.
pub fn secret_variables(providers: &[Provider]) -> Vec<String> {
    let keys = providers.iter().flat_map(|provider| &provider.keys);
    let named = keys.filter_map(|key| match key {
        KeySource::Environment(variable) => Some(variable.clone()),
        _ => None,
    });
    // The usual ones, too, where the configuration has put others in their place.
    let usual = PRESETS.iter().filter(|preset| !preset.key.is_empty()).map(|preset| preset.key.to_owned());
    named.chain(usual).collect()
}

/// Fills in which models each stage's provider means; refuses one that isn't known or has no key.
pub fn resolve(stages: &mut [Stage], providers: &[Provider], max_cost: bool) -> Result<(), Refusal> {
    for stage in stages {
        let Some(named) = stage.provider_mut() else { continue };
        let Some(provider) = providers.iter().find(|provider| provider.name == named.name) else {
            let known: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
            let message = format!("there is no provider `{}`: known are {}", escaped(&named.name), known.join(", "));
            return Err(Refusal::new(RefusalKind::Usage, message)
                .hint("own ones stand in the daemon's configuration, as [providers.NAME]"));
        };
        if let Some(key) = provider.keys.first().filter(|_| !provider.keys.iter().any(is_there)) {
            let message = format!("the provider `{}` has no key: there is nothing at {key}", provider.name);
            return Err(Refusal::new(RefusalKind::Usage, message)
                .hint("put it there, where the daemon sees it, and restart the daemon if that is its environment"));
        }
        if max_cost && provider.price_in.is_none() {
            let message = format!("--max-cost: nobody has said what `{}` costs", provider.name);
            return Err(Refusal::new(RefusalKind::Usage, message)
                .hint("set price_in and price_out in the daemon's configuration, for a million tokens each"));
        }
        *named = ProviderRef {
            name: provider.name.clone(),
            model: provider.model.clone(),
            text_model: provider.text_model.clone(),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Result<Vec<Provider>, String> {
        let table: BTreeMap<String, OwnProvider> = toml::from_str(text).map_err(|error| error.to_string())?;
        all(&table)
    }

    #[test]
    fn presets_need_no_configuration_and_take_what_it_says() {
        let plain = own("").unwrap();
        let names: Vec<_> = plain.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(names, ["dashscope", "gemini", "llama.cpp", "ollama", "openai", "vllm"]);
        let dashscope = &plain[0];
        assert_eq!((dashscope.model.as_str(), dashscope.text_model.as_str()), ("qwen-vl-plus", "qwen-plus"));
        assert_eq!(dashscope.limits, Limits::default());
        assert_eq!(plain[3].limits.calls_per_day, None);
        let changed = own("[gemini]\nper_day = 0\nper_minute = 10\nkeys = [\"file:/k/1\", \"file:/k/2\"]\n").unwrap();
        assert_eq!((changed[1].limits.calls_per_day, changed[1].limits.calls_per_minute), (None, 10));
        assert_eq!(changed[1].api().keys, 2);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_key_is_repeated() {
        for (text, told) in [
            ("[own]\n", "endpoint is missing"),
            ("[own]\nendpoint = \"https://a.example/v1\"\n", "model is missing"),
            ("[own]\npreset = \"closedai\"\n", "closedai"),
            ("[own]\npreset = \"openai\"\nendpoint = \"http://a.example/v1\"\n", "not encrypted"),
            ("[own]\npreset = \"openai\"\nendpoint = \"https://user:sk-1234@a.example/v1\"\n", "no login"),
            ("[own]\npreset = \"openai\"\nendpoint = \"ftp://a.example\"\n", "neither https nor http"),
            ("[own]\npreset = \"openai\"\nkeys = [\"sk-1234\"]\n", "env:VARIABLE"),
            ("[own]\npreset = \"openai\"\nat_once = 0\n", "at_once = 0 is outside 1–64"),
            ("[own]\npreset = \"openai\"\nprice_in = 1.0\n", "go together"),
            ("[own]\npreset = \"openai\"\ntimeout_seconds = 0\n", "outside 1–840"),
            ("[Own]\npreset = \"openai\"\n", "a name is"),
            ("[local]\npreset = \"openai\"\n", "a name is"),
        ] {
            let error = own(text).unwrap_err();
            assert!(error.contains(told) && !error.contains("1234"), "{text}: {error}");
        }
        for fine in ["http://127.0.0.1:1/v1", "http://[::1]:9/v1", "http://localhost/v1"] {
            own(&format!("[own]\nmodel = \"m\"\nendpoint = \"{fine}\"\n")).unwrap();
        }
        own("[own]\nmodel = \"m\"\ntrusted = true\nendpoint = \"http://10.0.0.7/v1\"\n").unwrap();
    }
}
