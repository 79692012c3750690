package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const envConfig = envPrefix + "CONFIG"

// run is the program: it returns when the command has ended, or when ctx has and everything is drained.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	root := command(environ)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

// command is the tree of commands. Without a command it serves.
func command(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "gateway",
		Short:         "Portico: one bus, a door for every protocol",
		Long:          "Portico is one bus with a door for every protocol: HTTP, WebSocket, gRPC, AMQP 0-9-1, NATS and MQTT.\nWithout a command it serves.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true, // an error is not a question about usage
		SilenceErrors: true, // main tells it
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration file, YAML ("+envConfig+")")
	for _, o := range options() {
		flags.String(o.flag(), "", usage(o))
	}
	flags.SortFlags = false
	root.Flags().SortFlags = false
	root.SetFlagErrorFunc(unknownFlag)
	configured := func(f func(*cobra.Command, *Config, map[string]settled) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			cfg, values, err := load(configFile(flags, environ), environ, flags)
			if err != nil {
				return err
			}
			return f(cmd, cfg, values)
		}
	}
	again := func() (*Config, map[string]settled, error) { return load(configFile(flags, environ), environ, flags) }
	root.RunE = configured(func(cmd *cobra.Command, cfg *Config, values map[string]settled) error {
		return serve(cmd.Context(), cfg, values, again, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	config := &cobra.Command{Use: "config", Short: "Look at the configuration"}
	config.AddCommand(
		&cobra.Command{Use: "check", Short: "Check the configuration and tell every mistake", Args: cobra.NoArgs, RunE: configured(runCheck)},
		&cobra.Command{Use: "print", Short: "Print the configuration in effect and where each value comes from, secrets redacted", Args: cobra.NoArgs, RunE: configured(runPrint)},
	)
	root.AddCommand(
		&cobra.Command{Use: "serve", Short: "Open every door (the default)", Args: cobra.NoArgs, RunE: root.RunE},
		config,
		userCommand(environ, flags),
		relayCommand(environ),
		aclCommand(environ, func() (*Config, error) { cfg, _, err := again(); return cfg, err }),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: runVersion},
	)
	return root
}

// usage is the help of an option's flag.
func usage(o option) string {
	if o.preset == "" {
		return o.help
	}
	return o.help + " (default " + o.preset + ")"
}

// unknownFlag adds the nearest flag there is to the error about one there is not.
func unknownFlag(_ *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var flags []string
	for _, o := range options() {
		flags = append(flags, "--"+o.flag())
	}
	return fmt.Errorf("%w%s", err, suggest("--"+unknown.GetSpecifiedName(), append(flags, "--config")))
}

// configFile is the file named by the flag, or else by the environment; "" if there is none.
func configFile(flags *pflag.FlagSet, environ []string) string {
	file := flags.Lookup("config")
	if file.Changed {
		return file.Value.String()
	}
	for _, v := range environ {
		if name, ok := strings.CutPrefix(v, envConfig+"="); ok {
			return name
		}
	}
	return ""
}

func runCheck(cmd *cobra.Command, cfg *Config, _ map[string]settled) error {
	if err := cfg.checkTLS(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "the configuration is sound")
	return err
}

// runPrint prints the keys in the file's own form, so that the output is a file again (but for the secrets).
func runPrint(cmd *cobra.Command, _ *Config, values map[string]settled) error {
	doc, err := document(values)
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	enc := yaml.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return enc.Close()
}

func runVersion(cmd *cobra.Command, _ []string) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "portico %s (%s %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is the module's version and the commit it was built from, as far as the build recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return v
}
