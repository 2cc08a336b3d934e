//! Logistic regression in a few hundred dimensions: Newton's method with halved steps. Nothing is drawn, so the same
//! points give the same answer.

/// One story as the last layer reads it.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// What its log-odds are linear in.
    pub features: Vec<f64>,
    /// Its log-odds before anything was learned.
    pub base: f64,
    /// What it should be, 0 to 1.
    pub target: f64,
}

/// Steps of Newton's method, at most, and halvings of one step.
const STEPS: usize = 30;
const HALVINGS: usize = 20;
/// A gradient this short is the end.
const SETTLED: f64 = 1e-7;

impl Point {
    fn log_odds(&self, theta: &[f64]) -> f64 {
        self.base + self.moved(theta)
    }

    /// How far `theta` moves its log-odds.
    pub fn moved(&self, theta: &[f64]) -> f64 {
        let products = self.features.iter().zip(theta).map(|(x, t)| x * t);
        products.sum()
    }
}

/// The `theta` that brings the points nearest to their targets, each by its weight, and stays near zero: the least of
/// the cross-entropy and `ridge / 2` times the square of its length. `start` is where to look first.
pub(super) fn fit(points: &[Point], weights: &[f64], ridge: f64, start: &[f64]) -> Vec<f64> {
    let mut theta = start.to_vec();
    let mut least = loss(points, weights, ridge, &theta);
    for _ in 0..STEPS {
        let (gradient, curvature) = slopes(points, weights, ridge, &theta);
        if length(&gradient) < SETTLED {
            break;
        }
        let step = solve(curvature, &gradient);
        let mut share = 1.0;
        let better = (0..HALVINGS).find_map(|_| {
            let tried: Vec<f64> = theta
                .iter()
                .zip(&step)
                .map(|(t, s)| t - share * s)
                .collect();
            share /= 2.0;
            let found = loss(points, weights, ridge, &tried);
            (found < least).then_some((tried, found))
        });
        let Some((tried, found)) = better else {
            break;
        };
        theta = tried;
        least = found;
    }
    theta
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn loss(points: &[Point], weights: &[f64], ridge: f64, theta: &[f64]) -> f64 {
    let held: f64 = theta.iter().map(|value| value * value).sum();
    let missed = points
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0);
    let missed: f64 = missed
        .map(|(point, weight)| {
            let z = point.log_odds(theta);
            // ln(1 + e^z) without overflow.
            weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - point.target * z)
        })
        .sum();
    missed + ridge / 2.0 * held
}

/// Gradient, and the lower half of the curvature row by row.
fn slopes(
    points: &[Point],
    weights: &[f64],
    ridge: f64,
    theta: &[f64],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut gradient: Vec<f64> = theta.iter().map(|value| ridge * value).collect();
    let mut curvature: Vec<Vec<f64>> = (0..theta.len()).map(|row| vec![0.0; row + 1]).collect();
    for (row, values) in curvature.iter_mut().enumerate() {
        values[row] = ridge;
    }
    for (point, weight) in points
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
    {
        let p = 1.0 / (1.0 + (-point.log_odds(theta)).exp());
        let (error, bend) = (weight * (p - point.target), weight * p * (1.0 - p));
        for (row, x) in point
            .features
            .iter()
            .enumerate()
            .filter(|(_, x)| **x != 0.0)
        {
            gradient[row] += error * x;
            for (sum, other) in curvature[row].iter_mut().zip(&point.features) {
                *sum += bend * x * other;
            }
        }
    }
    (gradient, curvature)
}

/// Cholesky's method. The ridge keeps the matrix positive.
fn solve(mut matrix: Vec<Vec<f64>>, right: &[f64]) -> Vec<f64> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let known: f64 = (0..column)
                .map(|at| matrix[row][at] * matrix[column][at])
                .sum();
            let left = matrix[row][column] - known;
            matrix[row][column] = if row == column {
                left.max(f64::MIN_POSITIVE).sqrt()
            } else {
                left / matrix[column][column]
            };
        }
    }
    let mut answer = right.to_vec();
    for row in 0..size {
        let known: f64 = (0..row).map(|at| matrix[row][at] * answer[at]).sum();
        answer[row] = (answer[row] - known) / matrix[row][row];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|at| matrix[at][row] * answer[at]).sum();
        answer[row] = (answer[row] - known) / matrix[row][row];
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(features: &[f64], base: f64, target: f64) -> Point {
        Point {
            features: features.to_vec(),
            base,
            target,
        }
    }

    #[test]
    fn what_is_found_is_where_no_direction_is_better() {
        let points: Vec<Point> = (0..200)
            .map(|index| {
                let x = [f64::from(index % 7) - 3.0, f64::from(index % 11) - 5.0, 1.0];
                point(
                    &x,
                    f64::from(index % 5),
                    f64::from(u8::from(index % 3 == 0)),
                )
            })
            .collect();
        let weights = vec![1.0; points.len()];
        let found = fit(&points, &weights, 0.5, &[0.0; 3]);
        let (gradient, _) = slopes(&points, &weights, 0.5, &found);
        assert!(length(&gradient) < 1e-4, "{gradient:?}");
        assert_eq!(found, fit(&points, &weights, 0.5, &[0.0; 3]));
    }

    #[test]
    fn what_is_already_so_moves_nothing_and_certainty_does_not_overflow() {
        let kept = [point(&[1.0, 2.0], 0.0, 0.5), point(&[3.0, 0.0], 0.0, 0.5)];
        assert_eq!(fit(&kept, &[1.0, 1.0], 1.0, &[0.0; 2]), [0.0; 2]);
        let sure = [point(&[1.0], 900.0, 0.0), point(&[1.0], -900.0, 1.0)];
        assert!(fit(&sure, &[1.0, 1.0], 1.0, &[0.0])[0].is_finite());
        assert_eq!(fit(&sure, &[0.0, 0.0], 1.0, &[0.0]), [0.0]);
    }
}
