//! What a program's compiled-in C libraries ask of the processor, and whether it has it. Asks the processor and the build; knows no program.

use std::fmt;

/// Instructions that a compiler uses only where it was told that every processor to come has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    Sse42,
    Avx,
    Avx2,
    Fma,
    F16c,
    Bmi2,
    AvxVnni,
    Avx512,
    Avx512Vbmi,
    Avx512Vnni,
    Avx512Bf16,
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instructions::Sse42 => "SSE4.2",
            Instructions::Avx => "AVX",
            Instructions::Avx2 => "AVX2",
            Instructions::Fma => "FMA",
            Instructions::F16c => "F16C",
            Instructions::Bmi2 => "BMI2",
            Instructions::AvxVnni => "AVX-VNNI",
            Instructions::Avx512 => "AVX-512",
            Instructions::Avx512Vbmi => "AVX-512 VBMI",
            Instructions::Avx512Vnni => "AVX-512 VNNI",
            Instructions::Avx512Bf16 => "AVX-512 BF16",
        })
    }
}

/// What this build was told to take for granted, by the variables that ggml reads as well. Empty where it was told to take what the building machine has:
/// then only the library itself knows.
pub fn built_for() -> Vec<Instructions> {
    [
        (Instructions::Sse42, option_env!("GGML_SSE42")),
        (Instructions::Avx, option_env!("GGML_AVX")),
        (Instructions::Avx2, option_env!("GGML_AVX2")),
        (Instructions::Fma, option_env!("GGML_FMA")),
        (Instructions::F16c, option_env!("GGML_F16C")),
        (Instructions::Bmi2, option_env!("GGML_BMI2")),
    ]
    .into_iter()
    .filter_map(|(instructions, told)| (told == Some("ON")).then_some(instructions))
    .collect()
}

/// Whether the processor that this runs on has them.
#[cfg(target_arch = "x86_64")]
pub fn has(instructions: Instructions) -> bool {
    match instructions {
        Instructions::Sse42 => is_x86_feature_detected!("sse4.2"),
        Instructions::Avx => is_x86_feature_detected!("avx"),
        Instructions::Avx2 => is_x86_feature_detected!("avx2"),
        Instructions::Fma => is_x86_feature_detected!("fma"),
        Instructions::F16c => is_x86_feature_detected!("f16c"),
        Instructions::Bmi2 => is_x86_feature_detected!("bmi2"),
        Instructions::AvxVnni => is_x86_feature_detected!("avxvnni"),
        // The five that compilers switch on together.
        Instructions::Avx512 => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
        }
        Instructions::Avx512Vbmi => is_x86_feature_detected!("avx512vbmi"),
        Instructions::Avx512Vnni => is_x86_feature_detected!("avx512vnni"),
        Instructions::Avx512Bf16 => is_x86_feature_detected!("avx512bf16"),
    }
}

/// Elsewhere nothing is taken for granted.
#[cfg(not(target_arch = "x86_64"))]
pub fn has(_: Instructions) -> bool {
    true
}

/// Why a program that needs these can't run on a processor that `has` some of them; it would be killed at the first that is missing.
pub fn refusal(needed: &[Instructions], has: impl Fn(Instructions) -> bool) -> Option<String> {
    let missing: Vec<String> = needed.iter().filter(|&&one| !has(one)).map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "this build is for processors that have {}, and this one has not: build it on this machine",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: [Instructions; 3] = [Instructions::Avx2, Instructions::Fma, Instructions::F16c];

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        assert_eq!(refusal(&BASELINE, |_| true), None);
        assert_eq!(refusal(&[], |_| false), None);
        let old = refusal(&BASELINE, |one| one == Instructions::F16c).unwrap();
        assert!(old.contains("have AVX2, FMA, and"), "{old}");
        assert!(!old.contains("F16C"), "{old}");
    }

    #[test]
    fn the_machine_that_runs_the_tests_has_what_they_were_built_for() {
        assert_eq!(refusal(&built_for(), has), None);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_processor_is_asked_as_the_kernel_is() {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let Some(flags) = flags.lines().find_map(|line| line.strip_prefix("flags")) else { return };
        let listed = |name: &str| flags.split_whitespace().any(|flag| flag == name);
        for (instructions, name) in [
            (Instructions::Sse42, "sse4_2"),
            (Instructions::Avx, "avx"),
            (Instructions::Avx2, "avx2"),
            (Instructions::Fma, "fma"),
            (Instructions::F16c, "f16c"),
            (Instructions::Bmi2, "bmi2"),
        ] {
            assert_eq!(has(instructions), listed(name), "{name}");
        }
    }
}
