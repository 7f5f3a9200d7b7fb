# An image that runs a catalog: docker run -v "$PWD:/catalog" -v segtide:/data segtide
# The port is not published to other machines until a capture says who may post documents; then add
# `-p 8080:8080` and `--host 0.0.0.0` behind the image's name.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package segtide

FROM debian:bookworm-slim
RUN useradd --create-home segtide && mkdir /catalog /data && chown segtide /catalog /data
COPY --from=build /src/target/release/segtide /usr/local/bin/segtide
USER segtide
WORKDIR /catalog
VOLUME /data
ENV SEGTIDE_DIRECTORY=/data
HEALTHCHECK CMD segtide status > /dev/null
ENTRYPOINT ["segtide"]
CMD ["run"]
