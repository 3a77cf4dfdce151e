//! 10,000 elements: how long an order takes, printed.

use super::host::{Host, add, with_nftables};
use std::time::{Duration, Instant};
use synledger::firewall::{Firewall, Order, Refused};
use synledger::nft::{Kernel, Limits};

fn address(number: u32) -> String {
    format!(
        "198.{}.{}.{}",
        18 + number / 62_500,
        number / 250 % 250,
        1 + number % 250
    )
}

/// Time from order to answer.
fn time_of(host: &mut Host, order: Order) -> Duration {
    let began = Instant::now();
    assert_eq!(host.nft.order(&[order]), 1);
    while host.answers.is_empty() {
        host.listen();
    }
    let took = began.elapsed();
    let answers = std::mem::take(&mut host.answers);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].result, Ok(()));
    took
}

#[test]
fn an_order_beside_ten_thousand_elements_is_carried_out_within_seconds() {
    with_nftables(|| {
        let limits = Limits {
            elements_max: 10_200,
            kernel: Kernel::Whole,
        };
        let mut host = Host::with(limits);
        let began = Instant::now();
        for start in (0..10_000).step_by(1_000) {
            let some: Vec<_> = (start..start + 1_000)
                .map(|n| add(&address(n), 3_600))
                .collect();
            assert_eq!(host.order(&some), vec![Ok(()); 1_000]);
        }
        eprintln!("10,000 elements by orders of 1,000: {:?}", began.elapsed());
        let mut took: Vec<Duration> = (10_000..10_200)
            .map(|number| time_of(&mut host, add(&address(number), 3_600)))
            .collect();
        took.sort_unstable();
        eprintln!(
            "order to answer beside them: median {:?}, p99 {:?}, most {:?}",
            took[100], took[198], took[199]
        );
        assert!(took[199] < Duration::from_secs(5));
        assert_eq!(host.order(&[add("203.0.113.1", 60)]), [Err(Refused::Full)]);
        let began = Instant::now();
        assert_eq!(host.elements().len(), 10_200);
        eprintln!("all listed: {:?}", began.elapsed());
        host.vanish();
        let began = Instant::now();
        let next = Host::with(limits);
        assert_eq!(next.lists[0].len(), 10_200);
        eprintln!("taken over by a new helper: {:?}", began.elapsed());
        next.close();
    });
}
