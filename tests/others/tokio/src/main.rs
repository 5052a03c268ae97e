//! Works in bursts on the workers of Tokio's default runtime, and rests between them.

use std::time::Duration;

fn spin(turns: u64) -> u64 {
    let mut x = 1u64;
    for i in 0..turns {
        x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(i));
    }
    x
}

#[tokio::main]
async fn main() {
    loop {
        let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(async { spin(8_000_000) })).collect();
        for task in tasks {
            task.await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
