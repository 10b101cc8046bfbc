import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.rabbitmq.client.Channel;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;

/** Consumes: each consumer is one listener container on a connection of its own. It settles by itself unless it holds. */
final class Consuming {
    private static final int DRAIN_PREFETCH = 500;
    private static final long RECOVERY_MS = 300;
    private static final long RECEIVE_MS = 100;

    private final Map<String, Member> members = new ConcurrentHashMap<>();

    Object start(JsonObject command) {
        AmqpMessage.checkConsume(command);
        members.put(command.get("consumer").getAsString(), new Member(command));
        return Map.of();
    }

    Object settle(JsonObject command) throws Exception {
        Channel channel = members.get(command.get("consumer").getAsString()).channel;
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

    Object stop(String name) {
        members.remove(name).stop();
        return Map.of();
    }

    void close() {
        List.copyOf(members.keySet()).forEach(this::stop);
    }

    /** A container that makes its connection again by itself. */
    private static SimpleMessageListenerContainer container(CachingConnectionFactory connections, JsonObject command, int prefetch,
            ChannelAwareMessageListener listener) {
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
        container.setQueueNames(command.get("topic").getAsString());
        container.setPrefetchCount(prefetch);
        container.setReceiveTimeout(RECEIVE_MS);
        container.setRecoveryInterval(RECOVERY_MS);
        container.setMessageListener(listener);
        return container;
    }

    private static final class Member implements ChannelAwareMessageListener {
        volatile Channel channel;
        private final CachingConnectionFactory connections = Driver.connections(ConfirmType.NONE);
        private final AmqpMessage.Judge judge;
        private final SimpleMessageListenerContainer container;

        Member(JsonObject command) {
            judge = new AmqpMessage.Judge(command);
            container = container(connections, command, command.has("prefetch") ? command.get("prefetch").getAsInt() : 10, this);
            if (command.has("hold") && command.get("hold").getAsBoolean()) {
                container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
            }
            container.afterPropertiesSet();
            container.start();
        }

        @Override
        public void onMessage(Message message, Channel channel) throws Exception {
            this.channel = channel;
            MessageProperties properties = message.getMessageProperties();
            String outcome = judge.arrived(message.getBody(), properties.getHeaders(), properties.getMessageId(),
                properties.getReceivedRoutingKey(), properties.isRedelivered(), properties.getDeliveryTag());
            if (outcome.equals("fail")) {
                Thread.sleep(AmqpMessage.BACKOFF_MS);
                throw new IllegalStateException("this delivery is to fail"); // which the container requeues
            }
        }

        void stop() {
            container.destroy();
            connections.destroy();
        }
    }

    Object drain(JsonObject command) throws Exception {
        AtomicLong count = new AtomicLong();
        AtomicLong last = new AtomicLong(System.currentTimeMillis());
        CachingConnectionFactory connections = Driver.connections(ConfirmType.NONE);
        try (Journal journal = new Journal(command.get("journal").getAsString())) {
            SimpleMessageListenerContainer container = container(connections, command, DRAIN_PREFETCH, (message, channel) -> {
                byte[] body = message.getBody();
                int attempt = Boolean.TRUE.equals(message.getMessageProperties().isRedelivered()) ? 2 : 1;
                journal.line("R - - " + Journal.id(body) + " " + Journal.crc(body) + " " + attempt + " " + System.currentTimeMillis());
                count.incrementAndGet();
                last.set(System.currentTimeMillis());
            });
            container.afterPropertiesSet();
            container.start();
            while (System.currentTimeMillis() - last.get() < command.get("idle_ms").getAsLong()) {
                Thread.sleep(20);
            }
            container.destroy();
        } finally {
            connections.destroy();
        }
        return Map.of("count", count.get());
    }
}
