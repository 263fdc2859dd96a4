package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"perdure/internal/app"
	"perdure/internal/wire"
)

// nodeCommand runs a node; its subcommands are what people do to the control plane itself.
func (s *session) nodeCommand() *cobra.Command {
	return withCommands(process("node --config FILE", "Run a control-plane node; or look after the control plane's members", "  perdure node --config /etc/perdure/node.yaml", app.RunNode),
		s.membersCommand(), s.joinCommand(), s.removeCommand(), s.reclaimCommand(), s.snapshotCommand(), s.confirmColdCommand(), s.recoverCommand(), s.restoreCommand())
}

func (s *session) gatewayCommand() *cobra.Command {
	return process("gateway --config FILE", "Run a gateway", "  perdure gateway --config /etc/perdure/gateway.yaml", app.RunGateway)
}

// breakGlass are the flags of what a person does on a stopped node, without a quorum that could authenticate them.
type breakGlass struct {
	config, by, reason string
	yes                bool
}

func (f *breakGlass) register(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file of the node, which must not run")
	c.Flags().StringVar(&f.by, "by", "", "your name; it stands in the audit log")
	c.Flags().StringVar(&f.reason, "reason", "", "why; it stands in the audit log")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
}

// run reads the configuration, asks the person and shows the incarnation that begins.
func (f *breakGlass) run(ctx context.Context, s *session, question string, act func(context.Context, app.NodeConfig) (wire.Incarnation, error)) error {
	for _, flag := range []struct{ name, value string }{{"--config FILE", f.config}, {"--by PERSON", f.by}, {"--reason TEXT", f.reason}} {
		if flag.value == "" {
			return usagef("%s is missing", flag.name)
		}
	}
	var config app.NodeConfig
	if err := app.LoadConfig(f.config, &config); err != nil {
		return err
	}
	if err := s.confirm(f.yes, question, config.Name); err != nil {
		return err
	}
	began, err := act(ctx, config)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(began)
	}
	fmt.Fprintln(s.Out, s.say(incarnationBegan, incarnation(began.Incarnation), config.Name))
	return nil
}

func (s *session) recoverCommand() *cobra.Command {
	var f breakGlass
	c := &cobra.Command{
		Use: "recover --config FILE --by PERSON --reason TEXT", Short: "Break glass: make this node's store an estate of its own after the majority is lost", Args: exactly(),
		Long: `Break glass, for when the majority of the nodes is lost for good: this node's store becomes an estate of its own.

A new incarnation begins: all in-sync sets are empty, all switches are stopped, and nothing is owned until a person
decides. The other nodes' stores belong to the past: when they meet the new incarnation they close everything, and
each joins anew from an empty directory. If the other sites are alive and only cut off, two cities may acknowledge
at once until they meet: fence what you can reach first (docs/ARCHITECTURE.md, Guarantees).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), s, s.say(askRecover), func(ctx context.Context, config app.NodeConfig) (wire.Incarnation, error) {
				return app.RecoverNode(ctx, config, f.by, f.reason)
			})
		},
	}
	f.register(c)
	return c
}

func (s *session) restoreCommand() *cobra.Command {
	var f breakGlass
	c := &cobra.Command{
		Use: "restore SNAPSHOT --config FILE --by PERSON --reason TEXT", Short: "Break glass: make a store from a snapshot, in an empty directory", Args: exactly("SNAPSHOT"),
		Long: "Break glass: make a store from a snapshot, in an empty directory. A new incarnation begins, as with recover.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), s, s.say(askRestore, args[0]), func(ctx context.Context, config app.NodeConfig) (wire.Incarnation, error) {
				return app.RestoreNode(ctx, config, args[0], f.by, f.reason)
			})
		},
	}
	f.register(c)
	return c
}
