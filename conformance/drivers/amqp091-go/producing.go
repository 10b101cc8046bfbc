// Declares and publishes, with confirms and without, and runs the journaled load.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	tagHeader      = "x-tag"
	reconnectTries = 100
	reconnectEvery = 300 * time.Millisecond
)

// outgoingMessage is a message as a scenario asks for it.
type outgoingMessage struct {
	Body       string            `json:"body"`
	Properties map[string]string `json:"properties"`
	Tag        *string           `json:"tag"`
	Key        string            `json:"key"`
	Queue      int               `json:"queue"`
	// Of a message to an exchange.
	Exchange string         `json:"exchange"`
	Headers  map[string]any `json:"headers"`
	Text     string         `json:"text"`
	// Expiration is in milliseconds; empty is none.
	Expiration string `json:"expiration"`
	Priority   uint8  `json:"priority"`
}

// Who logs in, and what is trusted to sign the broker's certificate where TLS is spoken.
var (
	user, secret = "guest", "guest"
	trusted      *tls.Config
)

func logInAs(c *command) error {
	user, secret, trusted = "guest", "guest", nil
	if c.User != "" {
		user, secret = c.User, c.Secret
	}
	if c.TLS == "" {
		return nil
	}
	pem, err := os.ReadFile(c.TLS)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", c.TLS)
	}
	trusted = &tls.Config{RootCAs: roots}
	return nil
}

func url(address string) string {
	scheme := "amqp"
	if trusted != nil {
		scheme = "amqps"
	}
	return scheme + "://" + user + ":" + secret + "@" + address + "/"
}

// dial makes a connection that comes back by itself, with its channels and consumers.
func dial(address string) (*amqp.Connection, error) {
	reconnection := &amqp.ReconnectionConfig{MaxRetryCount: reconnectTries, RetryInterval: reconnectEvery}
	return amqp.DialConfig(url(address), amqp.Config{TLSClientConfig: trusted, Recovery: &amqp.Recovery{ReconnectionConfig: reconnection}})
}

// sender is one connection with a channel that confirms and one that does not.
type sender struct {
	connection *amqp.Connection
	confirming *amqp.Channel
	plain      *amqp.Channel
}

func newSender(address string) (*sender, error) {
	connection, err := dial(address)
	if err != nil {
		return nil, err
	}
	confirming, err := connection.Channel()
	if err == nil {
		err = confirming.Confirm(false)
	}
	if err != nil {
		return nil, err
	}
	plain, err := connection.Channel()
	return &sender{connection, confirming, plain}, err
}

// currentSender gives one whose channels are open: the broker closes a channel for an error.
func (d *driver) currentSender() (*sender, error) {
	if d.sender != nil && d.sender.connection.IsClosed() {
		d.sender = nil
	}
	if d.sender == nil {
		made, err := newSender(d.address)
		if err != nil {
			return nil, err
		}
		d.sender = made
	}
	return d.sender, nil
}

func (d *driver) createTopic(c *command) (any, error) {
	if c.Queues != 1 {
		return nil, unsupported{"an AMQP queue is one sequence; several queues are another protocol's"}
	}
	sender, err := d.currentSender()
	if err == nil {
		_, err = sender.confirming.QueueDeclare(c.Topic, true, false, false, false, nil)
	}
	return object{}, err
}

func (d *driver) send(ctx context.Context, c *command) (any, error) {
	sender, err := d.currentSender()
	if err != nil {
		return nil, err
	}
	receipts := make([]object, len(c.Messages))
	for i := range receipts {
		receipts[i] = object{}
	}
	switch c.Mode {
	case "sync":
		err = sender.sendConfirmed(ctx, c, 1)
	case "async":
		err = sender.sendConfirmed(ctx, c, len(c.Messages))
	case "oneway":
		receipts = []object{}
		err = sender.sendPlain(ctx, c)
	default:
		err = unsupported{"amqp091-go has no " + c.Mode + " publish"}
	}
	return object{"receipts": receipts}, err
}

// sendConfirmed publishes with at most `window` confirms outstanding.
func (s *sender) sendConfirmed(ctx context.Context, c *command, window int) error {
	var open []*amqp.DeferredConfirmation
	for i := range c.Messages {
		message, err := publishing(&c.Messages[i])
		if err != nil {
			return err
		}
		confirm, err := s.confirming.PublishWithDeferredConfirmWithContext(ctx, "", c.Topic, true, false, message)
		if err != nil {
			return err
		}
		if open = append(open, confirm); len(open) == window || i == len(c.Messages)-1 {
			if err := await(ctx, open); err != nil {
				return err
			}
			open = nil
		}
	}
	return nil
}

func await(ctx context.Context, open []*amqp.DeferredConfirmation) error {
	for _, confirm := range open {
		if acked, err := confirm.WaitContext(ctx); err != nil {
			return err
		} else if !acked {
			return fmt.Errorf("nack of %d", confirm.DeliveryTag)
		}
	}
	return nil
}

func (s *sender) sendPlain(ctx context.Context, c *command) error {
	for i := range c.Messages {
		message, err := publishing(&c.Messages[i])
		if err == nil {
			err = s.plain.PublishWithContext(ctx, "", c.Topic, false, false, message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func publishing(wanted *outgoingMessage) (amqp.Publishing, error) {
	if wanted.Queue != 0 {
		return amqp.Publishing{}, unsupported{"an AMQP queue is one sequence"}
	}
	body, err := base64.StdEncoding.DecodeString(wanted.Body)
	headers := amqp.Table{}
	for key, value := range wanted.Properties {
		headers[key] = value
	}
	if wanted.Tag != nil {
		headers[tagHeader] = *wanted.Tag
	}
	return amqp.Publishing{Headers: headers, MessageId: wanted.Key, DeliveryMode: amqp.Persistent, Body: body}, err
}

// load publishes until told to stop or until the connection goes; its connection does not come back.
type load struct {
	stop                atomic.Bool
	sent, acked, failed atomic.Int64
	done                chan struct{}
}

func (d *driver) startLoad(c *command) (any, error) {
	if d.load != nil {
		return nil, fmt.Errorf("a load is running")
	}
	journal, err := newJournal(c.Journal)
	if err != nil {
		return nil, err
	}
	connection, err := amqp.Dial(url(d.address))
	if err != nil {
		return nil, err
	}
	channel, err := connection.Channel()
	if err == nil {
		err = channel.Confirm(false)
	}
	if err != nil {
		return nil, err
	}
	l := &load{done: make(chan struct{})}
	d.load = l
	var workers sync.WaitGroup
	for range c.Window {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for !l.stop.Load() {
				l.sendOne(channel, journal, c)
			}
		}()
	}
	go func() {
		workers.Wait()
		journal.close()
		connection.Close() // it may have gone already
		close(l.done)
		emit(object{"event": "load_end", "load": l.counts()})
	}()
	return object{}, nil
}

func (l *load) counts() object {
	return object{"sent": l.sent.Load(), "acked": l.acked.Load(), "failed": l.failed.Load()}
}

func (l *load) sendOne(channel *amqp.Channel, journal *journal, c *command) {
	id := fmt.Sprintf("%s-%d", c.Run, l.sent.Add(1))
	body := loadBody(id, c.Bytes)
	journal.line("S %s %s %d", id, crcOf(body), nowMs())
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}
	ctx := context.Background()
	confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", c.Topic, false, false, message)
	if err == nil {
		err = await(ctx, []*amqp.DeferredConfirmation{confirm})
	}
	if err != nil {
		journal.line("F %s %d %s", id, nowMs(), strings.ReplaceAll(err.Error(), "\n", " "))
		l.failed.Add(1)
		l.stop.Store(true)
		return
	}
	journal.line("A %s disk %d - -", id, nowMs())
	if acked := l.acked.Add(1); acked%1000 == 0 {
		emit(object{"event": "load_progress", "acked": acked})
	}
}

func (d *driver) stopLoad(ctx context.Context) (any, error) {
	l := d.load
	if l == nil {
		return nil, fmt.Errorf("no load is running")
	}
	d.load = nil
	l.stop.Store(true)
	select {
	case <-l.done:
		return l.counts(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
