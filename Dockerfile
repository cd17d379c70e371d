# Two stages: build with the lock file, ship one binary on an image without a shell.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# Dependencies first, so that a change of the sources does not build them again.
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked && rm -rf src target/release/conversion-relay* target/release/deps/conversion* target/release/deps/libconversion*
COPY src src
COPY config config
COPY README.md ./
RUN cargo build --release --locked \
    && mkdir -p /out/etc/relay /out/var/lib/relay \
    && cp target/release/conversion-relay /out/ \
    && cp config/*.toml config/*.csv /out/etc/relay/ \
    # A container's own loopback is nobody's: what -p publishes must listen outside it. The admin
    # listener does so only where a configuration of your own says it.
    && sed -i 's/^public = "127.0.0.1:8080"/public = "0.0.0.0:8080"/' /out/etc/relay/relay.toml

# distroless/cc has glibc, certificates and a `nonroot` user (65532), and nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/conversion-relay /usr/local/bin/conversion-relay
COPY --from=build --chown=65532:65532 /out/etc/relay /etc/relay
COPY --from=build --chown=65532:65532 /out/var/lib/relay /var/lib/relay
USER 65532:65532
# The only path that is written; the root file system can be read-only.
VOLUME ["/var/lib/relay"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["/usr/local/bin/conversion-relay", "health", "--ready"]
ENTRYPOINT ["/usr/local/bin/conversion-relay"]
CMD ["serve", "--config", "/etc/relay", "--data", "/var/lib/relay"]
