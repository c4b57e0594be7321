# Crossfade in a container: its own files, the packages it needs to run, and the Node of the base image.
#
#   docker build -t crossfade .
#   docker run --stop-timeout 130 -p 8080:8080 -v ./crossfade.yaml:/etc/crossfade/crossfade.yaml:ro \
#     -v crossfade:/var/lib/crossfade/data crossfade
#
# Every line, and what differs from a machine: config/deploy/README.md.

# Any image with Node 26.10 or later and glibc. For a build that can be repeated, pin a digest:
#   docker build --build-arg NODE_IMAGE=node:26-bookworm-slim@sha256:... -t crossfade .
ARG NODE_IMAGE=node:26-bookworm-slim

FROM ${NODE_IMAGE} AS packages
WORKDIR /opt/crossfade
COPY package.json package-lock.json ./
# The optional packages carry a Node for machines without one; here the base image has it.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
WORKDIR /opt/crossfade
COPY --from=packages /opt/crossfade/node_modules ./node_modules
# The modes are given because those of a checkout depend on the umask it was made with.
COPY --chmod=644 package.json ./
COPY --chmod=755 bin ./bin
COPY --chmod=755 src ./src
COPY --chmod=644 config/crossfade.yaml ./config/
# The program by its name, for `docker exec CONTAINER crossfade status`.
RUN ln -s /opt/crossfade/bin/crossfade.mjs /usr/local/bin/crossfade
# All that is ever written, by a user with a number and no name: Kubernetes can see that it is not root.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/crossfade/data
VOLUME /var/lib/crossfade/data
WORKDIR /var/lib/crossfade
USER 10001:10001

# Where the health check and the command line find the admin API, inside the container.
ENV CROSSFADE_URL=http://127.0.0.1:9900
EXPOSE 8080 9900
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(process.env.CROSSFADE_URL + '/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Without a shell: process 1 is the control process itself, which gets the signals and collects its workers.
ENTRYPOINT ["node", "/opt/crossfade/bin/crossfade.mjs"]
CMD ["start", "--config", "/etc/crossfade/crossfade.yaml"]
