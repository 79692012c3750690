package identity

import (
	"cmp"
	"slices"
	"time"

	"portico/core/policy"
)

// Identity is who somebody is, and what they may do. It is immutable.
type Identity struct {
	Name    string    // "": anonymous
	Tenant  string    // "" is "/"
	Tenants []string  // others that it may enter; "*": all
	Roles   []string  // sorted
	Expires time.Time // when the credential ends by itself; zero: never

	// Permissions decides what is allowed; nil: everything.
	Permissions *policy.Policy
}

// MayEnter tells whether the identity may use a tenant: its own, or one of Tenants.
func (i *Identity) MayEnter(tenant string) bool {
	return tenant == i.Home() || slices.Contains(i.Tenants, tenant) || slices.Contains(i.Tenants, "*")
}

// Foreign tells whether the identity belongs to another tenant than the default one and has no role that reaches beyond it: whoever may do everything there is no administrator of the gateway.
func (i *Identity) Foreign() bool {
	return i.Home() != "/" && !slices.Contains(i.Roles, policy.RoleAdministrator)
}

// Home is the tenant that it uses if it does not say which.
func (i *Identity) Home() string { return cmp.Or(i.Tenant, "/") }
