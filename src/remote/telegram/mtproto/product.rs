//! Check of the number that a client factors as its proof of work in a key exchange. It comes before anything
//! is known about the server, and the search for factors never ends for some numbers.

use super::call_error::CallError;

/// Least product. Telegram's have two factors of about 31 bits.
const LEAST: u64 = 1 << 16;
/// Bases that tell for every number of 64 bits whether it is prime (Miller and Rabin, with the bases of
/// Sorenson and Webster).
const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];

/// Checks that a search for the factors of `product` ends soon.
///
/// # Errors
/// [`CallError::Unexpected`] when the number is too small, too long, or prime.
pub fn check(product: &[u8]) -> Result<u64, CallError> {
    let unsuitable = || CallError::Unexpected("no product of two primes to factor".into());
    let bytes: [u8; 8] = product.try_into().map_err(|_| unsuitable())?;
    let number = u64::from_be_bytes(bytes);
    match number >= LEAST && !is_prime(number) {
        true => Ok(number),
        false => Err(unsuitable()),
    }
}

fn is_prime(number: u64) -> bool {
    if number < 2 || BASES.iter().any(|base| number.is_multiple_of(*base)) {
        return BASES.contains(&number);
    }
    let twos = (number - 1).trailing_zeros();
    let odd = (number - 1) >> twos;
    BASES.iter().all(|base| {
        let mut power = power(*base, odd, number);
        if power == 1 || power == number - 1 {
            return true;
        }
        (1..twos).any(|_| {
            power = product_of(power, power, number);
            power == number - 1
        })
    })
}

fn product_of(one: u64, other: u64, modulus: u64) -> u64 {
    let product = u128::from(one) * u128::from(other) % u128::from(modulus);
    // It is smaller than the modulus.
    u64::try_from(product).unwrap_or(0)
}

fn power(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = product_of(result, base, modulus);
        }
        base = product_of(base, base, modulus);
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_with_factors_pass() {
        let is_taken = |number: u64| check(&number.to_be_bytes()).is_ok();
        assert!(is_taken(0x17ED_4894_1A08_F981));
        assert!(is_taken(65_537 * 65_539));
        for number in [
            0,
            1,
            2,
            9,
            65_537,
            2_147_483_647,
            18_446_744_073_709_551_557,
        ] {
            assert!(!is_taken(number), "{number}");
        }
        // Products that pass for primes with few bases.
        assert!(is_taken(3_215_031_751));
        assert!(is_taken(3_825_123_056_546_413_051));
        assert!(check(&[1; 9]).is_err());
    }
}
