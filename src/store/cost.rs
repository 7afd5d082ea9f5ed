//! What the calls of an API cost.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most decimals shown.
const DECIMALS: usize = 12;

/// What the calls of an API cost, by the prices that the site file had then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiCost {
    /// How much, as far as the server reported tokens.
    pub amount: f64,
    /// Of what.
    pub currency: String,
    /// Calls whose tokens the server did not report: what they cost is unknown.
    pub unpriced_calls: u64,
}

impl ApiCost {
    /// Sums of costs, one of each currency, in the order they are met.
    pub fn sums<'a>(costs: impl Iterator<Item = &'a Self>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for cost in costs {
            match sums.iter_mut().find(|sum| sum.currency == cost.currency) {
                Some(sum) => {
                    sum.amount += cost.amount;
                    sum.unpriced_calls = sum.unpriced_calls.saturating_add(cost.unpriced_calls);
                }
                None => sums.push(cost.clone()),
            }
        }
        sums
    }
}

impl fmt::Display for ApiCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", amount(self.amount), self.currency)?;
        match self.unpriced_calls {
            0 => Ok(()),
            1 => f.write_str(" and 1 unpriced call"),
            count => write!(f, " and {count} unpriced calls"),
        }
    }
}

/// An amount of money with two decimals, or with three digits that count.
pub fn amount(amount: f64) -> String {
    let decimals = match amount {
        small if small > 0.0 && small < 1.0 => (2.0 - small.log10().floor()) as usize,
        _ => 2,
    };
    format!("{amount:.*}", decimals.min(DECIMALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(amount: f64, currency: &str, unpriced_calls: u64) -> ApiCost {
        let currency = currency.into();
        ApiCost {
            amount,
            currency,
            unpriced_calls,
        }
    }

    #[test]
    fn small_amounts_are_no_zeros() {
        let shown = [0.0, 0.00001234, 0.5, 12.3456].map(amount);
        assert_eq!(shown, ["0.00", "0.0000123", "0.500", "12.35"]);
        assert_eq!(
            cost(1.0, "EUR", 2).to_string(),
            "1.00 EUR and 2 unpriced calls"
        );
    }

    #[test]
    fn currencies_are_not_added_up() {
        let costs = [
            cost(1.0, "USD", 0),
            cost(2.0, "EUR", 1),
            cost(0.5, "USD", 3),
        ];
        let sums = ApiCost::sums(costs.iter());
        assert_eq!(sums, [cost(1.5, "USD", 3), cost(2.0, "EUR", 1)]);
    }
}
