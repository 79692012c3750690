package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// asking is a command that talks to a running gateway.
type asking func(cmd *cobra.Command, r *remote, args []string) error

// userCommand are the commands for users and tokens. They talk to a running gateway, which keeps both; users of the configuration file are changed there.
func userCommand(environ []string, settings *pflag.FlagSet) *cobra.Command {
	users := &cobra.Command{Use: "user", Short: "Manage the users of a running gateway, and their tokens"}
	remoteFlags(users.PersistentFlags())
	with := func(f asking) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			cfg, _, err := load(configFile(settings, environ), environ, settings)
			if err != nil {
				return err
			}
			r, err := newRemote(cmd.Flags(), environ, cfg)
			if err != nil {
				return err
			}
			return f(cmd, r, args)
		}
	}
	add := &cobra.Command{
		Use: "add NAME", Short: "Add a user; the password is the first line of the standard input", Args: cobra.ExactArgs(1), RunE: with(addUser),
	}
	add.Flags().StringArray("role", nil, "a role, such as administrator")
	add.Flags().StringArray("publish", nil, "a subject pattern that it may publish to (none: all)")
	add.Flags().StringArray("subscribe", nil, "a subject pattern that it may subscribe to (none: all)")
	add.Flags().Bool("generate", false, "make a password and print it")
	passwd := &cobra.Command{Use: "passwd NAME", Short: "Change a password; it is the first line of the standard input", Args: cobra.ExactArgs(1), RunE: with(changePassword)}
	passwd.Flags().Bool("generate", false, "make a password and print it")
	users.AddCommand(
		&cobra.Command{Use: "list", Short: "List users", Args: cobra.NoArgs, RunE: with(listUsers)},
		add, passwd,
		&cobra.Command{Use: "delete NAME", Short: "Delete a user, with its tokens", Args: cobra.ExactArgs(1), RunE: with(deleteUser)},
		tokenCommand(with),
	)
	return users
}

func tokenCommand(with func(asking) func(*cobra.Command, []string) error) *cobra.Command {
	tokens := &cobra.Command{Use: "token", Short: "Manage a user's tokens"}
	create := &cobra.Command{Use: "create NAME", Short: "Make a token and print it", Args: cobra.ExactArgs(1), RunE: with(createToken)}
	create.Flags().String("label", "", "what it is for")
	create.Flags().Duration("expires", 0, "how long it lasts, such as 720h (0: it does not end by itself)")
	tokens.AddCommand(
		create,
		&cobra.Command{Use: "list NAME", Short: "List a user's tokens", Args: cobra.ExactArgs(1), RunE: with(listTokens)},
		&cobra.Command{Use: "revoke NAME ID", Short: "Revoke a token", Args: cobra.ExactArgs(2), RunE: with(revokeToken)},
	)
	return tokens
}

// userView is a user as REST has it: what stays when another property changes.
type userView struct {
	Name       string   `json:"name"`
	Configured bool     `json:"configured"`
	Disabled   bool     `json:"disabled"`
	Roles      []string `json:"roles"`
	Publish    []string `json:"publish"`
	Subscribe  []string `json:"subscribe"`
}

func userPath(name string) string { return "/v1/users/" + url.PathEscape(name) }

func listUsers(cmd *cobra.Command, r *remote, _ []string) error {
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tFROM\tROLES\tPUBLISH\tSUBSCRIBE")
	for after := ""; ; {
		var page struct {
			Items []userView `json:"items"`
			Next  string     `json:"next"`
		}
		if err := r.call(cmd.Context(), "GET", "/v1/users?limit=100"+after, nil, &page); err != nil {
			return err
		}
		for _, u := range page.Items {
			from := "managed"
			if u.Configured {
				from = "configuration"
			}
			if u.Disabled {
				from += ", disabled"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", u.Name, from, strings.Join(u.Roles, ","), patterns(u.Publish), patterns(u.Subscribe))
		}
		if page.Next == "" {
			return t.Flush()
		}
		after = "&cursor=" + url.QueryEscape(page.Next)
	}
}

func patterns(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

func addUser(cmd *cobra.Command, r *remote, args []string) error {
	err := r.call(cmd.Context(), "GET", userPath(args[0]), nil, nil)
	if err == nil {
		return fmt.Errorf("there is a user %q already: passwd changes its password", args[0])
	}
	body := map[string]any{}
	for _, list := range []string{"role", "publish", "subscribe"} {
		values, err := cmd.Flags().GetStringArray(list)
		if err != nil {
			return err
		}
		if key := map[string]string{"role": "roles"}[list]; len(values) > 0 && key != "" {
			body[key] = values
		} else if len(values) > 0 {
			body[list] = values
		}
	}
	return setPassword(cmd, r, args[0], body)
}

// changePassword keeps whatever else the user is.
func changePassword(cmd *cobra.Command, r *remote, args []string) error {
	var body map[string]any
	if err := r.call(cmd.Context(), "GET", userPath(args[0]), nil, &body); err != nil {
		return err
	}
	for _, told := range []string{"name", "configured", "password"} {
		delete(body, told)
	}
	return setPassword(cmd, r, args[0], body)
}

func setPassword(cmd *cobra.Command, r *remote, name string, body map[string]any) error {
	generate, err := cmd.Flags().GetBool("generate")
	if err != nil {
		return err
	}
	password := rand.Text()
	if !generate {
		if password, err = readPassword(cmd.InOrStdin()); err != nil {
			return err
		}
	}
	body["password"] = password
	if err := r.call(cmd.Context(), "PUT", userPath(name), body, nil); err != nil || !generate {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), password)
	return err
}

func readPassword(in io.Reader) (string, error) {
	const most = 1024
	line, err := bufio.NewReader(io.LimitReader(in, most+2)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("read the password: %w", err)
	case line == "":
		return "", errors.New("the password is the first line of the standard input, and there is none; --generate makes one")
	case len(line) > most:
		return "", fmt.Errorf("the password has more than %d bytes", most)
	}
	return line, nil
}

func deleteUser(cmd *cobra.Command, r *remote, args []string) error {
	return r.call(cmd.Context(), "DELETE", userPath(args[0]), nil, nil)
}

func createToken(cmd *cobra.Command, r *remote, args []string) error {
	label, err := cmd.Flags().GetString("label")
	if err != nil {
		return err
	}
	life, err := cmd.Flags().GetDuration("expires")
	if err != nil {
		return err
	}
	var made struct {
		Token string `json:"token"`
	}
	body := map[string]any{"label": label, "expires_in": int64(life / time.Second)}
	if err := r.call(cmd.Context(), "POST", userPath(args[0])+"/tokens", body, &made); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Token)
	return err
}

func listTokens(cmd *cobra.Command, r *remote, args []string) error {
	var all struct {
		Items []struct {
			ID      string     `json:"id"`
			Label   string     `json:"label"`
			Created time.Time  `json:"created"`
			Expires *time.Time `json:"expires"`
		} `json:"items"`
	}
	if err := r.call(cmd.Context(), "GET", userPath(args[0])+"/tokens", nil, &all); err != nil {
		return err
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tCREATED\tEXPIRES\tLABEL")
	for _, one := range all.Items {
		expires := "-"
		if one.Expires != nil {
			expires = one.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", one.ID, one.Created.Format(time.RFC3339), expires, one.Label)
	}
	return t.Flush()
}

func revokeToken(cmd *cobra.Command, r *remote, args []string) error {
	return r.call(cmd.Context(), "DELETE", userPath(args[0])+"/tokens/"+url.PathEscape(args[1]), nil, nil)
}
