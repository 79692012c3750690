package core

import "fmt"

// Reload puts the users of cfg in force, with their credentials and permissions, and how people come in (Auth): whole, or after an error not at all. Who came in by what is there no longer is sent
// away, and what is open is looked at again (see Bus.Guard). Nothing else of cfg is looked at.
func (g *Gateway) Reload(cfg Config) error {
	if err := checkUsers(cfg.Users); err != nil {
		return err
	}
	if err := g.users.Configure(cfg.directory()); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}
