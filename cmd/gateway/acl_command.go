package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"portico/core"
	"portico/core/policy"

	"github.com/spf13/cobra"
)

// aclTest is one question: may this user do that at a door?
type aclTest struct {
	user, door, action, name, key string
	running                       bool // a gateway is asked that runs; else the configuration
}

// verdict is the answer.
type verdict struct {
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule"`
}

// errDenied makes the command end with a status that scripts see; the answer itself has been printed.
var errDenied = errors.New("denied")

// aclCommand looks into permissions.
func aclCommand(environ []string, load func() (*Config, error)) *cobra.Command {
	acl := &cobra.Command{Use: "acl", Short: "Look into what users may do"}
	t := aclTest{}
	test := &cobra.Command{
		Use:   "test --user USER [--door DOOR] ACTION NAME",
		Short: "Tell whether a user may do something, and which rule decides",
		Long: "Tell whether a user may do something, and which rule decides.\n\nACTION is one of " + strings.Join(policy.Actions(), ", ") + ";\nof queue actions the last word does. " +
			"NAME is a subject or pattern, or the name of a queue, stream, bucket or exchange.\n\nThe users of the configuration are asked, or with --running those of a running gateway.\n" +
			"A denial ends the command with status 1.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.action = args[0]
			if len(args) == 2 {
				t.name = args[1]
			}
			v, err := t.ask(cmd, environ, load)
			if err != nil {
				return err
			}
			return v.tell(cmd.OutOrStdout(), &t)
		},
	}
	test.Flags().StringVar(&t.user, "user", "", "who")
	test.Flags().StringVar(&t.door, "door", "http", "where: http, websocket, grpc, amqp, stomp, nats, mqtt")
	test.Flags().StringVar(&t.key, "key", "", "the routing key, for actions on an exchange")
	test.Flags().BoolVar(&t.running, "running", false, "ask the running gateway, managed users included")
	remoteFlags(test.Flags())
	_ = test.MarkFlagRequired("user") // it is there
	acl.AddCommand(test)
	return acl
}

func (t *aclTest) ask(cmd *cobra.Command, environ []string, load func() (*Config, error)) (verdict, error) {
	cfg, err := load()
	if err != nil {
		return verdict{}, err
	}
	if !t.running {
		return t.askConfig(cfg)
	}
	r, err := newRemote(cmd.Flags(), environ, cfg)
	if err != nil {
		return verdict{}, err
	}
	return t.askRunning(cmd.Context(), r)
}

// askConfig decides by the users of the configuration.
func (t *aclTest) askConfig(cfg *Config) (verdict, error) {
	action, err := policy.ParseAction(t.action)
	if err != nil {
		return verdict{}, err
	}
	if doors := []string{"http", "websocket", "grpc", "amqp", "stomp", "nats", "mqtt"}; !slices.Contains(doors, t.door) {
		return verdict{}, fmt.Errorf("door %q: want one of %s", t.door, strings.Join(doors, ", "))
	}
	for _, u := range cfg.users() {
		if u.Name != t.user {
			continue
		}
		p, err := policy.New(u.Name, u.Tenant, u.Spec())
		if err != nil {
			return verdict{}, err
		}
		d := p.DecideAt(t.door, action, core.ResourceFor(action, t.name, t.key))
		return verdict{d.Allowed, d.Rule}, nil
	}
	return verdict{}, fmt.Errorf("there is no user %q in the configuration", t.user)
}

// askRunning asks a gateway by its REST surface.
func (t *aclTest) askRunning(ctx context.Context, r *remote) (v verdict, err error) {
	action, err := policy.ParseAction(t.action)
	if err != nil {
		return v, err
	}
	query := url.Values{"action": {action.String()}, "name": {t.name}, "door": {t.door}}
	if t.key != "" {
		query.Set("key", t.key)
	}
	err = r.call(ctx, "GET", userPath(t.user)+"/permissions/test?"+query.Encode(), nil, &v)
	return v, err
}

func (v verdict) tell(w io.Writer, t *aclTest) error {
	word := "allowed"
	if !v.Allowed {
		word = "denied"
	}
	if _, err := fmt.Fprintf(w, "%s: %s %s at %s by %s\n", word, t.action, t.name, t.door, v.Rule); err != nil {
		return err
	}
	if !v.Allowed {
		return errDenied
	}
	return nil
}
