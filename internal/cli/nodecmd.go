package cli

import "github.com/spf13/cobra"

func (s *session) nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "A control-plane node", Args: cobra.ArbitraryArgs, RunE: parent}
	c.AddCommand(s.snapshotCommand(), s.confirmColdCommand())
	return c
}
