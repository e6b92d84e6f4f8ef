# Build: dependencies and the compiled CLI. The same commands run by hand: see docs/container.md.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY schemas ./schemas
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-slim
LABEL org.opencontainers.image.title="preheatd" \
      org.opencontainers.image.description="Declarative image preheating from git" \
      org.opencontainers.image.licenses="Apache-2.0"
# git and ssh reach the config repository, gpg checks who signed it; tini reaps git's helpers, which node as process 1 would not.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client gpg ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 65532 preheatd \
 && useradd --system --uid 65532 --gid 65532 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin preheatd \
 && install -d -o 65532 -g 65532 -m 0700 /data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/schemas ./schemas
COPY --from=build /app/dist ./dist
# The root file system may be read-only: only /data (state, a volume) and /tmp are written.
ENV NODE_ENV=production PREHEATD_CONFIG=/etc/preheatd/preheatd.yaml PREHEATD_STATE_DIR=/data
VOLUME /data
USER 65532:65532
EXPOSE 9440 9292
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:9440/livez').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "node", "/app/dist/cli.js"]
CMD ["run"]
