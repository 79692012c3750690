package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"

	"portico/adapters/grpc/relay"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	transport "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// lending is what the command line of relay says.
type lending struct {
	gateway    string
	gatewayTLS bool
	serverTLS  bool
	target     relay.Target
	others     bool
}

// relayCommand lends a gRPC server, as it is, to a gateway that runs elsewhere.
func relayCommand(environ []string) *cobra.Command {
	var l lending
	c := &cobra.Command{
		Use:   "relay --server HOST:PORT",
		Short: "Lend a gRPC server, as it is, to a running gateway",
		Long: "Lend a gRPC server, as it is, to a running gateway: relay dials both and passes bytes between them, so the server needs no port that the gateway can reach, and no change.\n\n" +
			"PORTICO_LOGIN is name:password for the gateway, if it wants any. It ends with SIGINT or SIGTERM, after the calls that have begun.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd, environ) },
	}
	f := c.Flags()
	f.StringVar(&l.gateway, "gateway", "127.0.0.1:50051", "the gateway's gRPC door, `host:port`")
	f.BoolVar(&l.gatewayTLS, "gateway-tls", false, "the gateway is reached by TLS")
	f.StringVar(&l.target.Address, "server", "", "the server to lend, `host:port`")
	f.BoolVar(&l.serverTLS, "server-tls", false, "the server is reached by TLS")
	f.StringSliceVar(&l.target.Services, "services", nil, "`names` of the services to lend, with commas between; default: what the server's reflection lists")
	f.BoolVar(&l.others, "others", false, "also take the calls of methods that no server has named")
	return c
}

func (l *lending) run(cmd *cobra.Command, environ []string) error {
	if l.target.Address == "" {
		return errors.New("--server is missing")
	}
	how := insecure.NewCredentials()
	if l.gatewayTLS {
		how = transport.NewTLS(relayTLS())
	}
	if l.serverTLS {
		l.target.TLS = relayTLS()
	}
	conn, err := grpc.NewClient(l.gateway, grpc.WithTransportCredentials(how))
	if err != nil {
		return err
	}
	defer conn.Close()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	return relay.Forward(cmd.Context(), conn, l.target, relay.Options{
		Others:    l.others,
		Metadata:  relayLogin(environ),
		Connected: func() { log.Info("calls can come", "gateway", l.gateway, "server", l.target.Address) },
		Log:       log,
	})
}

func relayTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// relayLogin is the metadata of the login that the environment has; nil for none.
func relayLogin(environ []string) func(context.Context) (map[string]string, error) {
	login := ""
	for _, set := range environ {
		if value, ok := strings.CutPrefix(set, envLogin+"="); ok {
			login = value
		}
	}
	if login == "" {
		return nil
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
	return func(context.Context) (map[string]string, error) {
		return map[string]string{"authorization": basic}, nil
	}
}
