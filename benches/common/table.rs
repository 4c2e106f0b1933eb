//! Decides how a figure is shown, and a target, and whether it is reached.

/// Which way a target points.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Only to be seen.
    None,
}

impl Target {
    /// Whether the figure is as good as the target asks.
    pub fn keeps(self, value: f64) -> bool {
        match self {
            Self::AtLeast(target) => value >= target,
            Self::AtMost(target) => value <= target,
            Self::None => true,
        }
    }

    /// The target in a column.
    pub fn told(self, unit: &str) -> String {
        match self {
            Self::AtLeast(target) => format!("≥ {}", shown(target, unit)),
            Self::AtMost(target) => format!("≤ {}", shown(target, unit)),
            Self::None => String::new(),
        }
    }

    /// How far the figure is from it.
    pub fn verdict(self, value: f64) -> String {
        match self {
            Self::None => String::new(),
            _ if self.keeps(value) => "reached".to_owned(),
            Self::AtLeast(target) => format!("{:.2} of it", value / target),
            Self::AtMost(target) if target > 0.0 => format!("{:.2} times", value / target),
            Self::AtMost(_) => "BROKEN".to_owned(),
        }
    }
}

/// A figure with its unit.
pub fn shown(value: f64, unit: &str) -> String {
    match unit {
        "/s" => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text + "/s"
        }
        "ms" => format!("{value:.3} ms"),
        "" => format!("{value:.0}"),
        unit => format!("{value:.2} {unit}"),
    }
}
