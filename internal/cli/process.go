package cli

import (
	"context"

	"github.com/spf13/cobra"

	"perdure/internal/app"
)

// process makes a command that is one of the product's long-running processes, described by a configuration file.
func process[C any](use, short, example string, run func(context.Context, C) error) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--config FILE is missing")
			}
			var config C
			if err := app.LoadConfig(file, &config); err != nil {
				return err
			}
			return run(cmd.Context(), config)
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file, YAML (docs/configuration.md)")
	return c
}

// withCommands adds what people do beside such a process: without the name of one, the process itself runs.
func withCommands(c *cobra.Command, more ...*cobra.Command) *cobra.Command {
	run := c.RunE
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return parent(cmd, args)
		}
		return run(cmd, args)
	}
	c.AddCommand(more...)
	return c
}
