import com.google.gson.JsonObject;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Sends half messages and says what becomes of them, at once, later, or when it is asked. */
final class Transacting {
    private final Map<String, Producer> producers = new ConcurrentHashMap<>();

    Object run(JsonObject command) throws Exception {
        String group = command.get("group").getAsString();
        Producer producer = producers.get(group);
        if (producer == null) {
            producer = new Producer(group);
            producers.put(group, producer);
        }
        switch (command.get("cmd").getAsString()) {
            case "produce":
                producer.answer = command.get("check").getAsString();
                return Map.of();
            case "prepare":
                return producer.prepare(command);
            case "decide":
                producer.answer = command.get("outcome").getAsString();
                producer.decided.countDown();
                return Map.of();
            default:
                throw new Driver.Unsupported("no command " + command.get("cmd"));
        }
    }

    void close() {
        producers.values().forEach(producer -> producer.sdk.shutdown());
        producers.clear();
    }

    private static final class Producer implements TransactionListener {
        final TransactionMQProducer sdk;
        final CountDownLatch prepared = new CountDownLatch(1);
        final CountDownLatch decided = new CountDownLatch(1);
        /** What is said when the broker asks, and by a local transaction that waits for it. */
        volatile String answer = "unknown";

        Producer(String group) throws Exception {
            sdk = new TransactionMQProducer(group);
            Endpoint.apply(sdk);
            sdk.setSendMsgTimeout(10_000);
            sdk.setRetryTimesWhenSendFailed(0);
            sdk.setTransactionListener(this);
            sdk.start();
        }

        /** With `wait` the message is stored and nothing is said of it when this is done. */
        Object prepare(JsonObject command) throws Exception {
            String local = command.get("local").getAsString();
            answer = command.get("check").getAsString();
            Message message = new Message(command.get("topic").getAsString(), Base64.getDecoder().decode(command.get("body").getAsString()));
            if (!local.equals("wait")) {
                sdk.sendMessageInTransaction(message, local);
                return Map.of();
            }
            Thread sending = new Thread(() -> {
                try {
                    sdk.sendMessageInTransaction(message, local);
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            sending.setDaemon(true);
            sending.start();
            prepared.await();
            return Map.of();
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object local) {
            if (!local.equals("wait")) {
                return state((String) local);
            }
            prepared.countDown();
            try {
                decided.await();
            } catch (InterruptedException e) {
                return LocalTransactionState.UNKNOW;
            }
            return state(answer);
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return state(answer);
        }

        private static LocalTransactionState state(String word) {
            switch (word) {
                case "commit":
                    return LocalTransactionState.COMMIT_MESSAGE;
                case "rollback":
                    return LocalTransactionState.ROLLBACK_MESSAGE;
                default:
                    return LocalTransactionState.UNKNOW;
            }
        }
    }
}
