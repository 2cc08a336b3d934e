//! Logistic regression on a few numbers, by Newton's method.

/// A slope for each of `N` numbers, and the offset last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted<const N: usize> {
    /// Not negative: more malice in one of the numbers is never less in all.
    pub slopes: [f32; N],
    /// Shift.
    pub offset: f32,
}

/// Slopes are held to this range: a side that is told apart perfectly has no finite slope.
const STEEPEST: f64 = 4.0;
/// The same for offsets.
const FARTHEST: f64 = 12.0;

/// Both labels weigh the same: the probability under even odds, whatever mix was measured. `None` when a label has no
/// story.
pub fn fit<const N: usize>(rows: &[([f32; N], bool)]) -> Option<Fitted<N>> {
    let positives = rows.iter().filter(|(_, malicious)| *malicious).count();
    let negatives = rows.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let weight = |malicious: bool| 0.5 / if malicious { positives } else { negatives } as f64;
    let mut slopes = [1.0 / N as f64; N];
    let mut offset = 0.0;
    for _ in 0..200 {
        let (gradient, curve) = derivatives(rows, weight, &slopes, offset);
        let Some(step) = solve(curve, gradient) else {
            break;
        };
        // Half steps keep Newton from leaving where the curve is flat.
        for (slope, step) in slopes.iter_mut().zip(&step) {
            *slope = (*slope - 0.5 * step).clamp(0.0, STEEPEST);
        }
        offset = (offset - 0.5 * step[N]).clamp(-FARTHEST, FARTHEST);
    }
    Some(Fitted {
        slopes: slopes.map(|slope| slope as f32),
        offset: offset as f32,
    })
}

/// Gradient and Hessian of the loss, with a weak pull of the slopes to where they began. The offset is last.
fn derivatives<const N: usize>(
    rows: &[([f32; N], bool)],
    weight: impl Fn(bool) -> f64,
    slopes: &[f64; N],
    offset: f64,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    const PULL: f64 = 1e-3;
    let mut gradient = vec![0.0; N + 1];
    let mut curve = vec![vec![0.0; N + 1]; N + 1];
    for (index, slope) in slopes.iter().enumerate() {
        gradient[index] = PULL * (slope - 1.0 / N as f64);
        curve[index][index] = PULL;
    }
    curve[N][N] = 1e-6;
    for (values, malicious) in rows {
        let mut x = vec![1.0; N + 1];
        for (to, from) in x.iter_mut().zip(values) {
            *to = f64::from(*from);
        }
        let logit: f64 = offset
            + x.iter()
                .zip(slopes)
                .map(|(x, slope)| x * slope)
                .sum::<f64>();
        let p = 1.0 / (1.0 + (-logit).exp());
        let error = weight(*malicious) * (p - f64::from(u8::from(*malicious)));
        let bend = weight(*malicious) * p * (1.0 - p);
        for i in 0..=N {
            gradient[i] += error * x[i];
            for j in 0..=N {
                curve[i][j] += bend * x[i] * x[j];
            }
        }
    }
    (gradient, curve)
}

/// `matrix * x = right` by elimination with pivots; `None` when it has no one solution.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        })?;
        if matrix[pivot][column].abs() < 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let pivot = matrix[column].clone();
        for row in column + 1..size {
            let share = matrix[row][column] / pivot[column];
            for (value, above) in matrix[row].iter_mut().zip(&pivot) {
                *value -= share * above;
            }
            right[row] -= share * right[column];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size)
            .map(|index| matrix[row][index] * right[index])
            .sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_are_brought_down() {
        let rows: Vec<([f32; 1], bool)> = (0..1000)
            .map(|index| {
                let says = index % 2 == 0;
                let wrong = matches!(index % 10, 3 | 4);
                ([if says { 8.0 } else { -8.0 }], says != wrong)
            })
            .collect();
        let fitted = fit(&rows).unwrap();
        let logit = f64::from(fitted.slopes[0]) * 8.0 + f64::from(fitted.offset);
        let high = 1.0 / (1.0 + (-logit).exp());
        assert!((0.7..0.9).contains(&high), "{high}");
    }

    #[test]
    fn what_tells_more_weighs_more_and_what_tells_nothing_nothing() {
        // The first number is right nine times of ten, the second is the story's number modulo 7.
        let rows: Vec<([f32; 2], bool)> = (0..700)
            .map(|index| {
                let malicious = index % 2 == 0;
                let says = malicious != (index % 10 == 0);
                (
                    [if says { 1.0 } else { -1.0 }, (index % 7) as f32 - 3.0],
                    malicious,
                )
            })
            .collect();
        let fitted = fit(&rows).unwrap();
        assert!(fitted.slopes[0] > 1.5, "{fitted:?}");
        assert!(fitted.slopes[1] < 0.05, "{fitted:?}");
    }

    #[test]
    fn one_label_alone_fits_nothing() {
        assert_eq!(fit(&[([1.0f32], true), ([2.0], true)]), None);
    }
}
