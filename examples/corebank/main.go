// Command corebank is the reference system: a small bank on package sdk.
//
// It keeps accounts and a double-entry journal in the databases of its units, moves money within a unit in one transaction,
// and between units as a debit now and a credit by the durable outbox, exactly once. Any number of instances may run at a site.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/sdk"
)

// schemaSQL is what a database of the bank is made with, after schema perdure.
//
//go:embed schema.sql
var schemaSQL string

// config is the configuration file; unknown fields are errors.
type config struct {
	ID     string `yaml:"id"`
	System string `yaml:"system"`
	Site   string `yaml:"site"`
	// Listen is where it serves, URL how gateways reach it.
	Listen string `yaml:"listen"`
	URL    string `yaml:"url"`
	// TLS is the certificate it registers with.
	TLS struct {
		CA   string `yaml:"ca"`
		Cert string `yaml:"cert"`
		Key  string `yaml:"key"`
	} `yaml:"tls"`
	// Nodes and Gateways are base addresses, the nearest first. Without nodes the instance does not register.
	Nodes    []string `yaml:"nodes"`
	Gateways []string `yaml:"gateways"`
	Slots    int      `yaml:"slots"`
	Units    []struct {
		Name     string `yaml:"name"`
		Conninfo string `yaml:"conninfo"`
	} `yaml:"units"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "corebank:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("corebank", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "usage: corebank --config FILE | corebank schema\n\nThe bank of the reference system; schema prints the SQL that its databases are made with.\n")
		flags.PrintDefaults()
	}
	file := flags.String("config", "", "configuration file (YAML)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.Arg(0) == "schema" {
		_, err := io.WriteString(out, schemaSQL)
		return err
	}
	if *file == "" || flags.NArg() > 0 {
		flags.Usage()
		return errors.New("--config FILE is missing")
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	return serve(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

func load(file string) (config, error) {
	var c config
	f, err := os.Open(file)
	if err != nil {
		return c, err
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	if c.Listen == "" || len(c.Units) == 0 {
		return c, fmt.Errorf("%s: listen and units are needed", file)
	}
	return c, nil
}

// serve runs the instance until ctx ends; then it leaves the gateways, finishes what it has begun and returns.
func serve(ctx context.Context, c config, log *slog.Logger) error {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; free the port or choose another", c.Listen, err)
	}
	b := &bank{service: &sdk.Service{Units: map[string]*sdk.Unit{}, Log: log}, outbox: map[string]*sdk.Dispatcher{}}
	for _, u := range c.Units {
		unit, err := sdk.Open(u.Name, u.Conninfo, sdk.Options{Name: c.ID, Log: log})
		if err != nil {
			return err
		}
		defer unit.Close()
		b.service.Units[u.Name] = unit
		b.outbox[u.Name] = dispatcher(unit, c.Gateways, log)
	}
	server := &http.Server{
		Handler: b.routes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	for _, d := range b.outbox {
		background.Go(func() { _ = d.Run(work) })
	}
	if len(c.Nodes) > 0 {
		client, err := machineClient(c)
		if err != nil {
			return err
		}
		background.Go(func() {
			err := sdk.Register(ctx, sdk.Registration{Nodes: c.Nodes, System: c.System, Site: c.Site, ID: c.ID, URL: c.URL, Client: client, Log: log})
			if err != nil {
				log.Error("not registered", "error", err)
			}
		})
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("corebank serves", "id", c.ID, "site", c.Site, "address", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	err = server.Shutdown(end)
	<-failed
	return err
}

func machineClient(c config) (*http.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 2 * time.Second}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.TLS.CA)
		}
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	}
	return &http.Client{Transport: transport}, nil
}

// dispatcher sends the unit's outbox through the nearest gateway that answers. What a destination refuses for good is given back.
func dispatcher(u *sdk.Unit, gateways []string, log *slog.Logger) *sdk.Dispatcher {
	client := &http.Client{Timeout: 12 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second}}
	senders := make([]sdk.Sender, len(gateways))
	for i, g := range gateways {
		senders[i] = sdk.HTTPSender(client, g, outboxCaller)
	}
	return &sdk.Dispatcher{
		Unit: u, Log: log,
		Send: func(ctx context.Context, m sdk.Message) (sdk.Verdict, string) {
			verdict, answer := sdk.Later, "no gateway is configured"
			for _, send := range senders {
				if verdict, answer = send(ctx, m); verdict != sdk.Later || strings.HasPrefix(answer, "503") {
					break
				}
			}
			return verdict, answer
		},
		Declined: giveBack,
	}
}
