// Drives amqp091-go by JSON lines; ../README.md says which. This file reads commands and writes answers; it knows nothing of
// messages.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	limitDefault    = 30 * time.Second
	commandBytesMax = 64 << 20
	sdkModule       = "github.com/rabbitmq/amqp091-go"
	reasonOffsets   = "an AMQP queue has no offsets"
)

// unsupported is a command that this SDK cannot carry out; the reason goes into the table of results.
type unsupported struct{ reason string }

func (u unsupported) Error() string { return u.reason }

// command holds the fields of all commands; each uses its own.
type command struct {
	ID        int64             `json:"id"`
	Cmd       string            `json:"cmd"`
	LimitMs   int64             `json:"limit_ms"`
	Amqp      string            `json:"amqp"`
	User      string            `json:"user"`
	Secret    string            `json:"secret"`
	TLS       string            `json:"tls"`
	Topic     string            `json:"topic"`
	Queues    int               `json:"queues"`
	Consumer  string            `json:"consumer"`
	Mode      string            `json:"mode"`
	From      string            `json:"from"`
	Tag       string            `json:"tag"`
	FailTimes int               `json:"fail_times"`
	Hold      bool              `json:"hold"`
	Prefetch  int               `json:"prefetch"`
	Priority  int64             `json:"priority"`
	Messages  []outgoingMessage `json:"messages"`
	Steps     []string          `json:"steps"`
	routing
	Receipts []string `json:"receipts"`
	Outcome  string   `json:"outcome"`
	Run      string   `json:"run"`
	Bytes    int      `json:"bytes"`
	Window   int      `json:"window"`
	Journal  string   `json:"journal"`
	IdleMs   int64    `json:"idle_ms"`
}

type object map[string]any

var outLock sync.Mutex

func emit(line object) {
	outLock.Lock()
	defer outLock.Unlock()
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(text, '\n'))
}

func main() {
	driver := &driver{consumers: map[string]*consumer{}}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), commandBytesMax)
	for input.Scan() {
		var c command
		if err := json.Unmarshal(input.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "bad command:", err)
			os.Exit(2)
		}
		emit(answer(driver, &c))
	}
	driver.reset()
}

func answer(d *driver, c *command) object {
	limit := limitDefault
	if c.LimitMs > 0 {
		limit = time.Duration(c.LimitMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type outcome struct {
		ok  any
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		ok, err := d.run(ctx, c)
		done <- outcome{ok, err}
	}()
	select {
	case <-ctx.Done():
		return object{"id": c.ID, "error": fmt.Sprintf("not done within %v", limit)}
	case result := <-done:
		var cannot unsupported
		if errors.As(result.err, &cannot) {
			return object{"id": c.ID, "unsupported": cannot.reason}
		}
		if result.err != nil {
			return object{"id": c.ID, "error": result.err.Error()}
		}
		return object{"id": c.ID, "ok": result.ok}
	}
}

// driver owns what the commands made.
type driver struct {
	address   string
	sender    *sender
	load      *load
	consumers map[string]*consumer
}

func (d *driver) run(ctx context.Context, c *command) (any, error) {
	switch c.Cmd {
	case "hello":
		return object{"sdk": "amqp091-go", "version": sdkVersion()}, nil
	case "connect":
		d.address = c.Amqp
		return object{}, logInAs(c)
	case "create_topic":
		return d.createTopic(c)
	case "send":
		return d.send(ctx, c)
	case "route":
		return d.route(ctx, c)
	case "transact":
		return d.transact(c)
	case "load":
		return d.startLoad(c)
	case "stop_load":
		return d.stopLoad(ctx)
	case "consume":
		return d.consume(c)
	case "settle":
		return d.settle(c)
	case "drain":
		return d.drain(c)
	case "stop":
		return d.stopConsumer(c.Consumer)
	case "reset":
		return object{}, d.reset()
	case "offsets", "seek_time":
		return nil, unsupported{reasonOffsets}
	default:
		return nil, unsupported{"no command " + c.Cmd}
	}
}

func (d *driver) reset() error {
	var failed error
	for name := range d.consumers {
		if _, err := d.stopConsumer(name); err != nil {
			failed = err
		}
	}
	if d.sender != nil {
		d.sender.connection.Close() // it may have gone already
		d.sender = nil
	}
	return failed
}

func sdkVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == sdkModule {
				return module.Version
			}
		}
	}
	return "unknown"
}
