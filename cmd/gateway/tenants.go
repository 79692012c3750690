package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"portico/core"

	"go.yaml.in/yaml/v3"
)

// tenantsOption is the list of tenants. In the environment it is the same list as YAML or JSON text.
func tenantsOption() option {
	return option{
		key:     "tenants",
		help:    "tenants beside the default one, as YAML or JSON text",
		expects: "a list of tenants, each with name, limits, exports, imports",
		parse:   func(v any) (any, error) { return parseTenants(v) },
	}
}

// parseTenants reads the list from YAML's values, or from YAML text. Its fields are those of the REST interface, and the name.
func parseTenants(v any) ([]core.TenantConfig, error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return nil, fmt.Errorf("tenants: found text that is no YAML, expected a list of tenants")
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("tenants: found %s, expected a list of tenants", shapeOf(v))
	}
	var tenants []core.TenantConfig
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&tenants); err != nil {
		return nil, fmt.Errorf("tenants: %w", err)
	}
	return tenants, core.CheckTenants(tenants)
}
