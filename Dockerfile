# One static-enough binary on a small base. Build: docker build -t smelt .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake perl && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package smelt

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 smelt
COPY --from=build /src/target/release/smelt /usr/local/bin/smelt
USER smelt
WORKDIR /home/smelt
ENTRYPOINT ["smelt"]
