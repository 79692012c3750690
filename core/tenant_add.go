package core

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
)

// addTenant opens a new tenant, and shows it when everybody who watches has done his part. What could not be made whole goes again.
func (g *Gateway) addTenant(ctx context.Context, cfg TenantConfig) error {
	if err := g.finishRemoval(ctx, cfg.Name); err != nil && codeOf(err) != CodeNotFound {
		return err
	}
	kept := keptTenant{TenantConfig: cfg, Leaving: true}
	if _, err := g.server.LookupAccount(accountsOf(cfg.Name, "").own); err == nil {
		kept.Generation = strings.ToLower(rand.Text()[:8])
	}
	if err := g.keepTenant(ctx, kept); err != nil {
		return err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	t, err := g.openParts(cfg, accountsOf(cfg.Name, kept.Generation))
	if err != nil {
		return errors.Join(err, g.forgetTenant(undo, cfg.Name)) // nothing was kept in it yet
	}
	told, err := g.introduce(t)
	if err == nil {
		g.tenants.put(cfg, t)
		err = g.imports(cfg)
	}
	if err == nil {
		kept.Leaving = false
		err = g.keepTenant(ctx, kept)
	}
	if err == nil {
		return nil
	}
	g.tenants.drop(cfg.Name)
	for _, w := range told {
		w.TenantClosed(cfg.Name)
	}
	return errors.Join(err, g.removeParts(undo, t))
}

// introduce tells those who watch of a new tenant. After an error told are those who know of it.
func (g *Gateway) introduce(t *tenant) (told []TenantWatcher, err error) {
	for _, w := range g.watchers() {
		if err := w.TenantOpened(&Bus{tenant: t, system: true}); err != nil {
			return told, err
		}
		told = append(told, w)
	}
	return told, nil
}
