import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Reads queues by offset, and looks up and moves the offsets of groups. */
@SuppressWarnings("deprecation") // DefaultMQPullConsumer reads queues by offset without taking part in a rebalance.
final class Reading {
    private static final int PULL_MESSAGES_MAX = 32;
    private static final int PULL_EMPTY_MAX = 50;

    Object offsets(JsonObject command) throws Exception {
        try (Asker asker = new Asker()) {
            String group = command.get("group").getAsString();
            List<Object> queues = new ArrayList<>();
            for (MessageQueue queue : asker.queues(command.get("topic").getAsString())) {
                queues.add(Map.of("queue", queue.getQueueId(), "min", asker.sdk.minOffset(queue), "max", asker.sdk.maxOffset(queue),
                    "committed", asker.committed(group, queue)));
            }
            return Map.of("queues", queues);
        }
    }

    Object seekTime(JsonObject command) throws Exception {
        try (Asker asker = new Asker()) {
            for (MessageQueue queue : asker.queues(command.get("topic").getAsString())) {
                asker.commit(command.get("group").getAsString(), queue, asker.sdk.searchOffset(queue, command.get("time_ms").getAsLong()));
            }
            return Map.of();
        }
    }

    /** Finds messages by key, and each of them again by its offset message id. */
    Object find(JsonObject command) throws Exception {
        try (Asker asker = new Asker()) {
            String topic = command.get("topic").getAsString();
            QueryResult result = asker.sdk.queryMessage(topic, command.get("key").getAsString(), command.get("max").getAsInt(), 0, Long.MAX_VALUE);
            List<Object> found = new ArrayList<>();
            for (MessageExt message : result.getMessageList()) {
                MessageExt viewed = asker.sdk.viewMessage(topic, message.getMsgId());
                if (viewed.getQueueId() != message.getQueueId() || viewed.getQueueOffset() != message.getQueueOffset()) {
                    throw new IllegalStateException("the id " + message.getMsgId() + " leads to " + viewed);
                }
                found.add(Map.of("body", Base64.getEncoder().encodeToString(viewed.getBody())));
            }
            return Map.of("messages", found);
        }
    }

    Object drain(JsonObject command) throws Exception {
        long count = 0;
        try (Puller puller = new Puller(command.get("group").getAsString()); Journal journal = new Journal(command.get("journal").getAsString())) {
            for (MessageQueue queue : puller.queues(command.get("topic").getAsString())) {
                count += drain(puller.sdk, queue, journal);
            }
        }
        return Map.of("count", count);
    }

    private static long drain(DefaultMQPullConsumer sdk, MessageQueue queue, Journal journal) throws Exception {
        long next = sdk.minOffset(queue);
        long end = sdk.maxOffset(queue);
        long count = 0;
        int empty = 0;
        while (next < end) {
            PullResult result = sdk.pull(queue, "*", next, PULL_MESSAGES_MAX);
            if (result.getPullStatus() != PullStatus.FOUND) {
                if (++empty > PULL_EMPTY_MAX) {
                    throw new IllegalStateException("queue " + queue.getQueueId() + " ends at " + end + " but a pull from " + next + " says " + result.getPullStatus());
                }
                next = Math.max(next, result.getNextBeginOffset());
                continue;
            }
            empty = 0;
            for (MessageExt message : result.getMsgFoundList()) {
                journal.line("R " + queue.getQueueId() + " " + message.getQueueOffset() + " " + Journal.id(message.getBody()) + " "
                    + Journal.crc(message.getBody()) + " " + (message.getReconsumeTimes() + 1) + " " + System.currentTimeMillis());
                count++;
            }
            next = result.getNextBeginOffset();
        }
        return count;
    }

    /** Asks for offsets of a group without being a member of it, which would take queues away from the members. */
    private static final class Asker implements AutoCloseable {
        final DefaultMQProducer sdk = Producing.newProducer("conformance_asker");

        Asker() throws Exception { }

        List<MessageQueue> queues(String topic) throws Exception {
            List<MessageQueue> queues = new ArrayList<>(sdk.fetchPublishMessageQueues(topic));
            queues.sort(null);
            return queues;
        }

        long committed(String group, MessageQueue queue) throws Exception {
            return Version.committed(client().getMQClientAPIImpl(), address(queue), group, queue);
        }

        void commit(String group, MessageQueue queue, long offset) throws Exception {
            Version.commit(client().getMQClientAPIImpl(), address(queue), group, queue, offset);
        }

        private MQClientInstance client() {
            return sdk.getDefaultMQProducerImpl().getMqClientFactory();
        }

        private String address(MessageQueue queue) {
            return client().findBrokerAddressInPublish(queue.getBrokerName());
        }

        @Override
        public void close() {
            sdk.shutdown();
        }
    }

    /** A pull consumer that goes with its command. */
    private static final class Puller implements AutoCloseable {
        final DefaultMQPullConsumer sdk;

        Puller(String group) throws Exception {
            sdk = new DefaultMQPullConsumer(group, Endpoint.signing());
            Endpoint.apply(sdk);
            sdk.start();
        }

        List<MessageQueue> queues(String topic) throws Exception {
            List<MessageQueue> queues = new ArrayList<>(sdk.fetchSubscribeMessageQueues(topic));
            queues.sort(null);
            return queues;
        }

        @Override
        public void close() {
            sdk.shutdown();
        }
    }
}
