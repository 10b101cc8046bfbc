import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.apache.rocketmq.spring.support.RocketMQHeaders;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessagingException;
import org.springframework.messaging.support.MessageBuilder;

/** Sends single messages, batches, and a journaled load through one template. */
final class Producing {
    static final String SDK = "rocketmq-spring";
    static final int SEND_TIMEOUT_MS = 10_000;
    private static final int FIRST_SEND_TRIES_MAX = 5;
    private static final String QUEUE = "queue:";

    private ConfigurableApplicationContext application;
    private Load load;

    static String sdkVersion() {
        return RocketMQTemplate.class.getProtectionDomain().getCodeSource().getLocation().getPath().replaceAll(".*-(\\d.*)\\.jar", "$1");
    }

    Object send(JsonObject command) throws Exception {
        List<Outgoing> messages = new ArrayList<>();
        for (JsonElement element : command.getAsJsonArray("messages")) {
            messages.add(new Outgoing(command.get("topic").getAsString(), element.getAsJsonObject()));
        }
        List<SendResult> results = new ArrayList<>();
        switch (command.get("mode").getAsString()) {
            case "sync":
                for (Outgoing message : messages) {
                    results.add(sendSync(message));
                }
                break;
            case "async":
                results.addAll(sendAsync(messages));
                break;
            case "oneway":
                messages.forEach(this::sendOneway);
                break;
            case "batch":
                results.add(sendBatch(messages));
                break;
            default:
                throw new Driver.Unsupported("no mode " + command.get("mode"));
        }
        List<Object> receipts = new ArrayList<>();
        for (SendResult result : results) {
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                throw new IllegalStateException("send status " + result.getSendStatus());
            }
            receipts.add(Map.of("message_id", result.getMsgId(), "queue", result.getMessageQueue().getQueueId(), "offset", result.getQueueOffset()));
        }
        return Map.of("receipts", receipts);
    }

    Object recall(JsonObject command) {
        throw new Driver.Unsupported("RocketMQTemplate recalls nothing");
    }

    Object transact(JsonObject command) {
        throw new Driver.Unsupported("RocketMQTemplate leaves transactions to the Java client, which has a driver of its own");
    }

    Object load(JsonObject command) throws Exception {
        if (load != null) {
            throw new IllegalStateException("a load is running");
        }
        load = new Load(command, template());
        Thread thread = new Thread(load, "load");
        thread.setDaemon(true);
        thread.start();
        return Map.of();
    }

    Object stopLoad() throws Exception {
        Load ending = load;
        load = null;
        ending.stop = true;
        return ending.done.get();
    }

    void close() {
        if (application != null) {
            application.close();
            application = null;
        }
    }

    private RocketMQTemplate template() {
        if (application == null) {
            // A retry by the SDK would make duplicates that no broker can be blamed for.
            application = Endpoint.start(Map.of("rocketmq.producer.group", "conformance_producer_" + System.nanoTime(),
                "rocketmq.producer.send-message-timeout", SEND_TIMEOUT_MS, "rocketmq.producer.retry-times-when-send-failed", 0,
                "rocketmq.producer.retry-times-when-send-async-failed", 0), context -> { });
            application.getBean(RocketMQTemplate.class).setMessageQueueSelector(Producing::choose);
        }
        return application.getBean(RocketMQTemplate.class);
    }

    private SendResult sendSync(Outgoing message) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return message.place == null ? template().syncSend(message.destination, message.message)
                    : template().syncSendOrderly(message.destination, message.message, message.place);
            } catch (MessagingException e) {
                // The first route query has a short limit of its own in the SDK: nothing was sent, so trying again is safe.
                if (attempt == FIRST_SEND_TRIES_MAX || !String.valueOf(e.getMessage()).contains("No route info")) {
                    throw e;
                }
                Thread.sleep(300);
            }
        }
    }

    private void sendOneway(Outgoing message) {
        if (message.place == null) {
            template().sendOneWay(message.destination, message.message);
        } else {
            template().sendOneWayOrderly(message.destination, message.message, message.place);
        }
    }

    /** One request, to the topic and tag of its first message. */
    private SendResult sendBatch(List<Outgoing> messages) {
        List<Message<byte[]>> batch = new ArrayList<>();
        messages.forEach(message -> batch.add(message.message));
        Outgoing first = messages.get(0);
        return first.place == null ? template().syncSend(first.destination, batch) : template().syncSendOrderly(first.destination, batch, first.place);
    }

    private List<SendResult> sendAsync(List<Outgoing> messages) throws Exception {
        List<CompletableFuture<SendResult>> pending = new ArrayList<>();
        for (Outgoing message : messages) {
            CompletableFuture<SendResult> future = new CompletableFuture<>();
            SendCallback callback = new SendCallback() {
                @Override public void onSuccess(SendResult result) {
                    future.complete(result);
                }

                @Override public void onException(Throwable e) {
                    future.completeExceptionally(e);
                }
            };
            if (message.place == null) {
                template().asyncSend(message.destination, message.message, callback);
            } else {
                template().asyncSendOrderly(message.destination, message.message, message.place, callback);
            }
            pending.add(future);
        }
        List<SendResult> results = new ArrayList<>();
        for (CompletableFuture<SendResult> future : pending) {
            results.add(future.get(SEND_TIMEOUT_MS * 2L, TimeUnit.MILLISECONDS));
        }
        return results;
    }

    private static MessageQueue choose(List<MessageQueue> queues, org.apache.rocketmq.common.message.Message message, Object place) {
        String text = (String) place;
        int index = text.startsWith(QUEUE) ? Integer.parseInt(text.substring(QUEUE.length())) : Math.floorMod(text.hashCode(), queues.size());
        return queues.stream().filter(queue -> queue.getQueueId() == index).findFirst().orElseThrow(() -> new IllegalArgumentException("no queue " + index));
    }

    /** A message as the template takes it. */
    private static final class Outgoing {
        final String destination;
        final Message<byte[]> message;
        /** What the selector gets; null where any queue will do. */
        final String place;

        Outgoing(String topic, JsonObject wanted) {
            destination = wanted.has("tag") ? topic + ":" + wanted.get("tag").getAsString() : topic;
            MessageBuilder<byte[]> builder = MessageBuilder.withPayload(Base64.getDecoder().decode(wanted.get("body").getAsString()));
            if (wanted.has("key")) {
                builder.setHeader(RocketMQHeaders.KEYS, wanted.get("key").getAsString());
            }
            if (wanted.has("properties")) {
                wanted.getAsJsonObject("properties").entrySet().forEach(entry -> builder.setHeader(entry.getKey(), entry.getValue().getAsString()));
            }
            message = builder.build();
            place = wanted.has("queue") ? QUEUE + wanted.get("queue").getAsInt()
                : wanted.has("ordering_key") ? wanted.get("ordering_key").getAsString() : null;
        }
    }
}
