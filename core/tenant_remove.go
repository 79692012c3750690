package core

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// raze ends a tenant that nobody uses any more, and deletes everything in it.
func (t *tenant) raze(ctx context.Context) error {
	err := t.streams.removeAll(ctx)
	t.end()
	return errors.Join(err, t.dropLogs(ctx), t.gateway.dropTables(ctx, t.name), t.server.closeAccounts(t.accounts.own))
}

// removeAll deletes every stream of the account, buckets and what MQTT sessions keep among them.
func (s *streams) removeAll(ctx context.Context) error {
	var names struct {
		Streams []string `json:"streams"`
	}
	for range maxRemovals {
		if err := s.ask(ctx, "STREAM.NAMES", nil, &names); err != nil {
			return err
		}
		if len(names.Streams) == 0 {
			return nil
		}
		for _, name := range names.Streams {
			if err := s.remove(ctx, name); err != nil && codeOf(err) != CodeNotFound {
				return err
			}
		}
		names.Streams = nil
	}
	return Errorf(CodeUnavailable, "streams are made while all are being deleted")
}

// maxRemovals bounds how often it is looked for more streams; an answer names about a thousand.
const maxRemovals = 1000

// dropLogs deletes the logs of the tenant's queues.
func (t *tenant) dropLogs(ctx context.Context) (failed error) {
	names, err := t.gateway.store.Names(ctx)
	if err != nil {
		return err
	}
	for _, log := range names {
		if strings.HasPrefix(log, t.name+"\x00") {
			failed = errors.Join(failed, t.gateway.store.Drop(ctx, log))
		}
	}
	return failed
}

// removal is how long the parts of a tenant may need to go. Nobody who asked for it can make it shorter: half of a tenant is of no use to anybody.
const removal = time.Minute

// finishRemoval deletes what is left of a tenant whose deletion has begun. CodeNotFound if there is none.
func (g *Gateway) finishRemoval(ctx context.Context, name string) error {
	kept, err := g.keptTenant(ctx, name)
	switch {
	case err != nil && codeOf(err) != CodeNotFound:
		return err
	case err != nil || !kept.Leaving:
		return Errorf(CodeNotFound, "there is no tenant %q", name)
	}
	t, err := g.openParts(kept.TenantConfig, accountsOf(name, kept.Generation))
	if err != nil {
		return err
	}
	return g.removeParts(ctx, t)
}

// removeParts deletes everything in a tenant, and then its description.
func (g *Gateway) removeParts(ctx context.Context, t *tenant) error {
	t.depart()
	if err := t.raze(ctx); err != nil {
		return err
	}
	return g.forgetTenant(ctx, t.name)
}

// tablesOf begins the buckets of a tenant's tables.
func tablesOf(tenant string) string { return "T_" + hex.EncodeToString([]byte(tenant)) + "_" }

// dropTables deletes a tenant's tables.
func (g *Gateway) dropTables(ctx context.Context, tenant string) (failed error) {
	g.tables.mu.Lock()
	defer g.tables.mu.Unlock()
	buckets := g.js.KeyValueStoreNames(ctx)
	for bucket := range buckets.Name() {
		if !strings.HasPrefix(bucket, tablesOf(tenant)) {
			continue
		}
		delete(g.tables.open, bucket)
		if err := g.js.DeleteKeyValue(ctx, bucket); err != nil {
			failed = errors.Join(failed, fmt.Errorf("delete table: %w", err))
		}
	}
	return errors.Join(failed, buckets.Error())
}
