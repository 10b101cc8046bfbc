import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQPushConsumerLifecycleListener;
import org.springframework.context.ConfigurableApplicationContext;

/** Applications with one annotated listener each. */
final class Listening {
    private static final int THREADS = 4;
    private static final int RETRY_DELAY_LEVEL_1S = 1;
    private static final int ORDERLY_RETRY_MS = 300;

    private Listening() { }

    /** What a listener is to do; a bean, so that the annotated classes get it. */
    static final class Wanted {
        final String topic;
        final String group;
        String tag = "*";
        String from = "earliest";
        boolean orderly;
        Integer maxAttempts;
        /** False if the delivery is to be failed. */
        Predicate<MessageExt> onMessage;

        Wanted(String topic, String group) {
            this.topic = topic;
            this.group = group;
        }
    }

    static ConfigurableApplicationContext start(Wanted wanted) {
        Map<String, Object> properties = Map.of("wanted.topic", wanted.topic, "wanted.group", wanted.group, "wanted.tag", wanted.tag);
        return Endpoint.start(properties, context -> context.getBeanFactory().registerSingleton("wanted", wanted),
            wanted.orderly ? Orderly.class : Concurrent.class);
    }

    @RocketMQMessageListener(topic = "${wanted.topic}", consumerGroup = "${wanted.group}", selectorExpression = "${wanted.tag}",
        consumeThreadNumber = THREADS, delayLevelWhenNextConsume = RETRY_DELAY_LEVEL_1S)
    static class Concurrent extends Listener {
        Concurrent(Wanted wanted) {
            super(wanted);
        }
    }

    @RocketMQMessageListener(topic = "${wanted.topic}", consumerGroup = "${wanted.group}", selectorExpression = "${wanted.tag}",
        consumeMode = ConsumeMode.ORDERLY, consumeThreadNumber = THREADS, suspendCurrentQueueTimeMillis = ORDERLY_RETRY_MS)
    static class Orderly extends Listener {
        Orderly(Wanted wanted) {
            super(wanted);
        }
    }

    /** A listener says by an exception that it failed. */
    private abstract static class Listener implements RocketMQListener<MessageExt>, RocketMQPushConsumerLifecycleListener {
        private final Wanted wanted;

        Listener(Wanted wanted) {
            this.wanted = wanted;
        }

        @Override
        public void onMessage(MessageExt message) {
            if (!wanted.onMessage.test(message)) {
                throw new IllegalStateException("failed as the command said");
            }
        }

        /** What the annotation has no attribute for. */
        @Override
        public void prepareStart(DefaultMQPushConsumer consumer) {
            Endpoint.apply(consumer);
            if (wanted.maxAttempts != null) {
                consumer.setMaxReconsumeTimes(wanted.maxAttempts - 1);
            }
            if (wanted.from.equals("earliest")) {
                consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            } else if (wanted.from.equals("latest")) {
                consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
            } else {
                consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
                Date time = new Date(Long.parseLong(wanted.from.substring("time:".length())));
                consumer.setConsumeTimestamp(new SimpleDateFormat(UtilAll.YYYYMMDDHHMMSS).format(time));
            }
        }
    }
}
