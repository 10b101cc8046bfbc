// Consumes: each consumer is one connection, one channel and one goroutine.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	keysHeader    = "x-keys"
	attemptHeader = "x-delivery-count"
	backoff       = 200 * time.Millisecond // an AMQP requeue comes back at once
	drainPrefetch = 500
)

type consumer struct {
	command    *command
	connection *amqp.Connection
	channel    *amqp.Channel
	seen       map[string]int
	ended      chan struct{}
	lock       sync.Mutex
	held       map[string]amqp.Delivery
}

func (d *driver) consume(c *command) (any, error) {
	if c.From != "" && c.From != "earliest" {
		return nil, unsupported{reasonOffsets}
	}
	if c.Tag != "" && c.Tag != "*" {
		return nil, unsupported{"an AMQP consumer has no filter; bindings have"}
	}
	connection, channel, deliveries, err := d.subscribe(c, max(c.Prefetch, 1))
	if err != nil {
		return nil, err
	}
	made := &consumer{
		command: c, connection: connection, channel: channel, seen: map[string]int{}, ended: make(chan struct{}),
		held: map[string]amqp.Delivery{},
	}
	d.consumers[c.Consumer] = made
	go made.work(deliveries)
	return object{}, nil
}

func (d *driver) subscribe(c *command, prefetch int) (*amqp.Connection, *amqp.Channel, <-chan amqp.Delivery, error) {
	connection, err := dial(d.address)
	if err != nil {
		return nil, nil, nil, err
	}
	channel, err := connection.Channel()
	if err == nil {
		err = channel.Qos(prefetch, 0, false)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	arguments := amqp.Table{}
	if c.Priority != 0 {
		arguments["x-priority"] = c.Priority
	}
	deliveries, err := channel.Consume(c.Topic, "conformance", false, false, false, false, arguments)
	return connection, channel, deliveries, err
}

func (c *consumer) work(deliveries <-chan amqp.Delivery) {
	defer close(c.ended)
	for delivery := range deliveries {
		outcome := c.judge(&delivery)
		if outcome == "held" {
			c.lock.Lock()
			c.held[receipt(&delivery)] = delivery
			c.lock.Unlock()
		}
		emit(object{"event": "message", "consumer": c.command.Consumer, "message": describe(&delivery, outcome)})
		var err error
		switch outcome {
		case "ack":
			err = delivery.Ack(false)
		case "fail":
			time.Sleep(backoff)
			err = delivery.Nack(false, true)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "settling:", err)
		}
	}
}

func (c *consumer) judge(delivery *amqp.Delivery) string {
	identity := delivery.MessageId + " " + string(delivery.Body)
	c.seen[identity]++
	switch {
	case c.command.Hold:
		return "held"
	case c.command.FailTimes >= 0 && c.seen[identity] > c.command.FailTimes:
		return "ack"
	}
	return "fail"
}

func receipt(delivery *amqp.Delivery) string { return strconv.FormatUint(delivery.DeliveryTag, 10) }

func describe(delivery *amqp.Delivery, outcome string) object {
	fields := object{
		"message_id": delivery.MessageId, "topic": delivery.RoutingKey, "body": base64.StdEncoding.EncodeToString(delivery.Body),
		"redelivered": delivery.Redelivered, "outcome": outcome, "receipt": receipt(delivery),
	}
	if delivery.MessageId != "" {
		fields["key"] = delivery.MessageId
	}
	properties := object{}
	for key, value := range delivery.Headers {
		switch key {
		case tagHeader:
			fields["tag"] = value
		case keysHeader:
			fields["key"] = value
		case attemptHeader:
			if count, err := strconv.ParseInt(fmt.Sprint(value), 10, 64); err == nil {
				fields["attempt"] = count + 1
			}
		default:
			properties[key] = value
		}
	}
	fields["properties"] = properties
	return fields
}

func (d *driver) settle(c *command) (any, error) {
	consumer := d.consumers[c.Consumer]
	if consumer == nil {
		return nil, fmt.Errorf("no consumer %s", c.Consumer)
	}
	consumer.lock.Lock()
	defer consumer.lock.Unlock()
	for _, receipt := range c.Receipts {
		delivery := consumer.held[receipt]
		delete(consumer.held, receipt)
		var err error
		if c.Outcome == "ack" {
			err = delivery.Ack(false)
		} else {
			err = delivery.Nack(false, c.Outcome == "requeue")
		}
		if err != nil {
			return nil, err
		}
	}
	return object{}, nil
}

func (d *driver) stopConsumer(name string) (any, error) {
	consumer := d.consumers[name]
	if consumer == nil {
		return nil, fmt.Errorf("no consumer %s", name)
	}
	delete(d.consumers, name)
	err := consumer.channel.Cancel("conformance", false)
	if err == nil {
		<-consumer.ended // what was buffered is worked through
		err = consumer.channel.Close()
	}
	consumer.connection.Close() // it may have gone already
	return object{}, err
}

// drain reads the queue until nothing came for idle_ms.
func (d *driver) drain(c *command) (any, error) {
	journal, err := newJournal(c.Journal)
	if err != nil {
		return nil, err
	}
	defer journal.close()
	connection, _, deliveries, err := d.subscribe(c, drainPrefetch)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	for count := 0; ; count++ {
		select {
		case delivery, ok := <-deliveries:
			if !ok {
				return nil, fmt.Errorf("the consumer ended after %d messages", count)
			}
			attempt := 1
			if delivery.Redelivered {
				attempt = 2
			}
			journal.line("R - - %s %s %d %d", idOf(delivery.Body), crcOf(delivery.Body), attempt, nowMs())
			if err := delivery.Ack(false); err != nil {
				return nil, err
			}
		case <-time.After(time.Duration(c.IdleMs) * time.Millisecond):
			return object{"count": count}, nil
		}
	}
}
