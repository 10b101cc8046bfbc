import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Envelope;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Consumes: each consumer is one connection with one channel. */
final class Consuming {
    private static final int DRAIN_PREFETCH = 500;
    private static final long STOP_MS_MAX = 10_000;

    private final Map<String, Member> members = new ConcurrentHashMap<>();

    Object start(JsonObject command) throws Exception {
        AmqpMessage.checkConsume(command);
        members.put(command.get("consumer").getAsString(), new Member(command));
        return Map.of();
    }

    Object settle(JsonObject command) throws Exception {
        Channel channel = members.get(command.get("consumer").getAsString()).getChannel();
        String outcome = command.get("outcome").getAsString();
        for (JsonElement receipt : command.getAsJsonArray("receipts")) {
            if (outcome.equals("ack")) {
                channel.basicAck(receipt.getAsLong(), false);
            } else {
                channel.basicNack(receipt.getAsLong(), false, outcome.equals("requeue"));
            }
        }
        return Map.of();
    }

    Object stop(String name) throws Exception {
        members.remove(name).stop();
        return Map.of();
    }

    void close() throws Exception {
        for (String name : List.copyOf(members.keySet())) {
            stop(name);
        }
    }

    private static final class Member extends DefaultConsumer {
        private final AmqpMessage.Judge judge;
        private final CountDownLatch cancelled = new CountDownLatch(1);

        Member(JsonObject command) throws Exception {
            super(Driver.connection(true).createChannel());
            judge = new AmqpMessage.Judge(command);
            getChannel().basicQos(command.has("prefetch") ? command.get("prefetch").getAsInt() : 10);
            getChannel().basicConsume(command.get("topic").getAsString(), this);
        }

        @Override
        public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) throws IOException {
            long receipt = envelope.getDeliveryTag();
            String outcome = judge.arrived(body, properties.getHeaders(), properties.getMessageId(), envelope.getRoutingKey(),
                envelope.isRedeliver(), receipt);
            if (outcome.equals("ack")) {
                getChannel().basicAck(receipt, false);
            } else if (outcome.equals("fail")) {
                sleep(AmqpMessage.BACKOFF_MS);
                getChannel().basicNack(receipt, false, true);
            }
        }

        @Override
        public void handleCancelOk(String tag) {
            cancelled.countDown(); // behind the last delivery, which was settled
        }

        void stop() throws Exception {
            Connection connection = getChannel().getConnection();
            try {
                getChannel().basicCancel(getConsumerTag());
                cancelled.await(STOP_MS_MAX, TimeUnit.MILLISECONDS);
                getChannel().close();
            } finally {
                connection.abort();
            }
        }
    }

    private static void sleep(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    Object drain(JsonObject command) throws Exception {
        AtomicLong count = new AtomicLong();
        AtomicLong last = new AtomicLong(System.currentTimeMillis());
        Connection connection = Driver.connection(false);
        try (Journal journal = new Journal(command.get("journal").getAsString())) {
            Channel channel = connection.createChannel();
            channel.basicQos(DRAIN_PREFETCH);
            channel.basicConsume(command.get("topic").getAsString(), false, (tag, delivery) -> {
                byte[] body = delivery.getBody();
                int attempt = delivery.getEnvelope().isRedeliver() ? 2 : 1;
                journal.line("R - - " + Journal.id(body) + " " + Journal.crc(body) + " " + attempt + " " + System.currentTimeMillis());
                channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
                count.incrementAndGet();
                last.set(System.currentTimeMillis());
            }, tag -> { });
            while (System.currentTimeMillis() - last.get() < command.get("idle_ms").getAsLong()) {
                Thread.sleep(20);
            }
            channel.close();
        } finally {
            connection.abort();
        }
        return Map.of("count", count.get());
    }
}
