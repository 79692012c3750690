package identity

import (
	"maps"
	"slices"
	"time"

	"portico/core/policy"
)

// Known is a user that is known, disabled ones too.
type Known struct {
	User
	Managed bool // at run time, not by the configuration
}

// All are the users that are known, by name. The guest of a gateway without users is none.
func (d *Directory) All() []Known {
	d.mu.RLock()
	defer d.mu.RUnlock()
	byName := d.known()
	all := make([]Known, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}

// known are all by name; mu is held.
func (d *Directory) known() map[string]Known {
	all := make(map[string]Known, len(d.managed)+len(d.config.Users))
	for name, u := range d.managed {
		all[name] = Known{u, true}
	}
	for _, u := range d.config.Users {
		all[u.Name] = Known{u, false}
	}
	return all
}

// User returns one of All.
func (d *Directory) User(name string) (Known, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if u, ok := d.file[name]; ok {
		return Known{u, false}, true
	}
	u, ok := d.managed[name]
	return Known{u, true}, ok
}

// ManagedNames are the names of the managed users, those that the configuration hides too.
func (d *Directory) ManagedNames() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.managed))
}

// Full tells whether no further user can be managed.
func (d *Directory) Full() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.managed) >= MaxManaged
}

// TokenIDs are those of all tokens.
func (d *Directory) TokenIDs() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.tokens.byID))
}

// HasToken tells whether a token is known.
func (d *Directory) HasToken(id string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tokens.byID[id] != nil
}

// LocksOut tells whether nobody could manage users any more if the user of this name became next (nil: none), and somebody can now. Without users there is the guest.
func (d *Directory) LocksOut(name string, next *User) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := d.known()
	before := administered(all)
	if next == nil {
		delete(all, name)
	} else {
		all[name] = Known{*next, true}
	}
	return before && !administered(all)
}

func administered(all map[string]Known) bool {
	for _, u := range all {
		who, err := u.identity()
		if err == nil && !u.Disabled && who.Permissions.Decide(policy.Administer, policy.Resource{}).Allowed && !who.Foreign() {
			return true
		}
	}
	return len(all) == 0
}

// Expired are the tokens that ended before a point in time.
func (d *Directory) Expired(before time.Time) (ids []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for id, i := range d.tokens.byID {
		if !i.Expires.IsZero() && i.Expires.Before(before) {
			ids = append(ids, id)
		}
	}
	return ids
}
