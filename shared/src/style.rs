//! The styles: eight ways to show an object, each a background, a shadow, a margin and a size. Names and sizes; how they look is the worker's.

use serde::{Deserialize, Serialize};

/// How a cut-out object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Style {
    MinimalWhite,
    ModernHome,
    Business,
    Natural,
    AmazonStandard,
    TiktokVibrant,
    InstagramLifestyle,
    ShopifyCustom,
}

impl Style {
    pub const ALL: [Style; 8] = [
        Style::MinimalWhite,
        Style::ModernHome,
        Style::Business,
        Style::Natural,
        Style::AmazonStandard,
        Style::TiktokVibrant,
        Style::InstagramLifestyle,
        Style::ShopifyCustom,
    ];

    /// The one that is taken where none is named.
    pub const DEFAULT: Style = Style::MinimalWhite;

    pub fn name(self) -> &'static str {
        match self {
            Style::MinimalWhite => "minimal_white",
            Style::ModernHome => "modern_home",
            Style::Business => "business",
            Style::Natural => "natural",
            Style::AmazonStandard => "amazon_standard",
            Style::TiktokVibrant => "tiktok_vibrant",
            Style::InstagramLifestyle => "instagram_lifestyle",
            Style::ShopifyCustom => "shopify_custom",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Style::ALL.into_iter().find(|style| style.name() == name)
    }

    /// Width and height of its pictures.
    pub fn size(self) -> (u32, u32) {
        match self {
            Style::MinimalWhite => (1_000, 1_000),
            Style::ModernHome => (1_200, 900),
            Style::Business => (1_600, 900),
            Style::Natural => (1_080, 1_350),
            Style::AmazonStandard => (2_000, 2_000),
            Style::TiktokVibrant => (1_080, 1_920),
            Style::InstagramLifestyle => (1_080, 1_080),
            Style::ShopifyCustom => (2_048, 2_048),
        }
    }

    /// What it looks like, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Style::MinimalWhite => "white, with a soft shadow",
            Style::ModernHome => "a warm wall above a wooden floor",
            Style::Business => "cool grey, falling off to the corners",
            Style::Natural => "soft green light from above",
            Style::AmazonStandard => "pure white without shadow, the object 85 % of the side",
            Style::TiktokVibrant => "from magenta to cyan, with a strong shadow",
            Style::InstagramLifestyle => "pastel peach and rose",
            Style::ShopifyCustom => "light grey, with a faint shadow",
        }
    }
}
