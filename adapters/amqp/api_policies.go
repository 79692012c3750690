package amqp

import (
	"net/http"

	"portico/adapters/amqp/broker"
	"portico/core"
)

// policyInfo is a policy as it is told.
type policyInfo struct {
	Vhost      string         `json:"vhost"`
	Name       string         `json:"name"`
	Pattern    string         `json:"pattern"`
	ApplyTo    string         `json:"apply-to"`
	Definition map[string]any `json:"definition"`
	Priority   int            `json:"priority"`
}

func (v *vhost) policyInfo(p broker.Policy) policyInfo {
	return policyInfo{v.name, p.Name, p.Pattern, p.ApplyTo, p.Definition, p.Priority}
}

func (c *call) policyList(kind broker.PolicyKind) (int, any, error) {
	all := []policyInfo{}
	for _, p := range c.vhost.policies.List(kind) {
		all = append(all, c.vhost.policyInfo(p))
	}
	return http.StatusOK, all, nil
}

func (c *call) onePolicy(kind broker.PolicyKind) (int, any, error) {
	p, ok := c.vhost.policies.Get(kind, c.names[0])
	if !ok {
		return 0, nil, c.noPolicy()
	}
	return http.StatusOK, c.vhost.policyInfo(p), nil
}

func (c *call) noPolicy() error {
	return core.Errorf(core.CodeNotFound, "no policy '%s' in vhost '%s'", c.names[0], c.vhost.name)
}

// setPolicy puts a policy in force: 201, or 204 when it replaces one of its name.
func (c *call) setPolicy(kind broker.PolicyKind) (int, any, error) {
	var p broker.Policy
	if err := decode(c.body, &p); err != nil {
		return 0, nil, err
	}
	p.Name = c.names[0]
	_, there := c.vhost.policies.Get(kind, p.Name)
	return createdOr(there), nil, c.vhost.putPolicy(kind, p)
}

func (c *call) unsetPolicy(kind broker.PolicyKind) (int, any, error) {
	there, err := c.vhost.deletePolicy(kind, c.names[0])
	if err == nil && !there {
		err = c.noPolicy()
	}
	return http.StatusNoContent, nil, err
}

// policies: GET policies.
func (c *call) policies() (int, any, error) { return c.policyList(broker.UserPolicy) }

// policy: GET policies/{name}.
func (c *call) policy() (int, any, error) { return c.onePolicy(broker.UserPolicy) }

// putPolicy: PUT policies/{name}.
func (c *call) putPolicy() (int, any, error) { return c.setPolicy(broker.UserPolicy) }

// deletePolicy: DELETE policies/{name}.
func (c *call) deletePolicy() (int, any, error) { return c.unsetPolicy(broker.UserPolicy) }

// operatorPolicies: GET operator-policies.
func (c *call) operatorPolicies() (int, any, error) { return c.policyList(broker.OperatorPolicy) }

// operatorPolicy: GET operator-policies/{name}.
func (c *call) operatorPolicy() (int, any, error) { return c.onePolicy(broker.OperatorPolicy) }

// putOperatorPolicy: PUT operator-policies/{name}.
func (c *call) putOperatorPolicy() (int, any, error) { return c.setPolicy(broker.OperatorPolicy) }

// deleteOperatorPolicy: DELETE operator-policies/{name}.
func (c *call) deleteOperatorPolicy() (int, any, error) { return c.unsetPolicy(broker.OperatorPolicy) }
