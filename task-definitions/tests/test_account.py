"""What a real account does with the stack: the eleven points of the issue on it, names, permissions, messages, the dashboard."""

import json
import os
import re
from pathlib import Path

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

import pipeline
from pipeline import PROJECT, Stack

SHARED = Path(os.environ.get("ENGAGEMENT_ML_SHARED", PROJECT.parent / "shared"))
# Every part of the template that a parameter switches on.
EVERYTHING = {"SlackWorkspaceId": "T0", "SlackChannelId": "C0", "KnowledgeBaseId": "KB1", "DataSourceId": "DS1", "PagerEndpoint": "https://events.pagerduty.com/x",
              "NotificationEmail": "team@example.com", "EmailAbout": "failures", "KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1", "CreateServiceLinkedRole": "yes",
              "SourceDatabases": "sales,web", "SourceBuckets": "sales-lake", "Bucket": "lake"}


@pytest.fixture(scope="module")
def stack() -> Stack:
    """The stack with everything in it."""
    return Stack(EVERYTHING)


def deploy_guide() -> str:
    """docs/deploy.md."""
    return (PROJECT / "docs/deploy.md").read_text()


def commands() -> list:
    """The commands of docs/deploy.md, each on one line."""
    return [line.strip() for block in re.findall(r"```sh\n(.*?)```", deploy_guide(), re.S) for line in block.replace("\\\n", " ").splitlines()]


def statements(policy: dict) -> list:
    """The statements of a role or of a managed policy."""
    documents = [one["PolicyDocument"] for one in policy["Properties"].get("Policies", [])] or [policy["Properties"]["PolicyDocument"]]
    return [statement for document in documents for statement in document["Statement"]]


def listed(value) -> list:
    """A value that may stand alone."""
    return value if isinstance(value, list) else [value]


def actions_of(policy: dict) -> set:
    """Every action that a role or a managed policy allows."""
    return {action for statement in statements(policy) for action in listed(statement["Action"])}


# 1

def test_an_operator_may_do_what_the_guide_says(stack):
    allowed = actions_of(stack.resource("OperatorPolicy"))
    assert {"cloudformation:DescribeStacks", "states:ListStateMachines", "states:StartExecution", "states:DescribeExecution", "ecs:RunTask", "iam:PassRole"} <= allowed
    # What messages link to: logs, reports, tables.
    assert {"logs:GetLogEvents", "logs:FilterLogEvents", "logs:DescribeLogStreams", "s3:GetObject", "athena:StartQueryExecution", "glue:GetTable"} <= allowed
    logs = [arn for statement in statements(stack.resource("OperatorPolicy")) if "logs:GetLogEvents" in listed(statement["Action"]) for arn in statement["Resource"]]
    groups = {group["Properties"]["LogGroupName"] for name, group in stack.resources("AWS::Logs::LogGroup").items() if name != "KilledTasks"}
    assert {arn.split("log-group:")[1].removesuffix(":*") for arn in logs} == groups
    assert not {action for action in allowed if re.match(r"s3:(Put|Delete)", action)} - {"s3:PutObject"}


def in_capitals(operation: str) -> str:
    """`start-execution` or `start_execution` as IAM calls it: `StartExecution`."""
    return "".join(word.capitalize() for word in re.split("[-_]", operation))


def test_every_call_of_the_guide_s_start_by_hand_is_one_that_an_operator_may_make(stack):
    from iam import allows

    section = deploy_guide().split("## 5. Start it by hand")[1].split("\n## ")[0]
    prefix = {"cloudformation": "cloudformation", "stepfunctions": "states", "ecs": "ecs"}
    asked = {f"{prefix[service]}:{in_capitals(operation)}" for service, operation in re.findall(r"\baws (\w+) ([\w-]+)", section)}
    asked |= {f"states:{in_capitals(operation)}" for operation in re.findall(r'states\.(?:get_paginator\(")?(\w+_\w+)(?<!get_paginator)[("]', section)}
    arn = "arn:aws:{}:us-east-1:000000000000:{}"
    cluster = {"ecs:cluster": arn.format("ecs", "cluster/ml-cluster")}
    calls = {"cloudformation:DescribeStacks": (stack.reference("AWS::StackId"), {}), "states:ListStateMachines": ("*", {}),
             "states:StartExecution": (arn.format("states", "stateMachine:engagement-ml-pipeline"), {}), "ecs:RunTask": (arn.format("ecs", "task-definition/inference-task:3"), cluster)}
    assert asked == set(calls)
    may = statements(stack.resource("OperatorPolicy"))
    for action, (resource, context) in calls.items():
        assert any(allows(statement, action, resource, context) for statement in may), action
    for role in ("ExecutionRole", "InferenceTaskRole", "TrainingTaskRole"):
        assert any(allows(statement, "iam:PassRole", stack.attribute(f"{role}.Arn"), {"iam:PassedToService": "ecs-tasks.amazonaws.com"}) for statement in may), role


def test_the_state_machine_logs_what_went_wrong(stack):
    logging = stack.properties("Pipeline")["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", True)
    assert logging["Destinations"] == [{"CloudWatchLogsLogGroup": {"LogGroupArn": stack.attribute("PipelineLogGroup.Arn")}}]


# 2 (an odd field of the input) is test_scenarios.py's test_odd_fields_of_the_input_overwrite_nothing.

# 3

def test_an_execution_that_no_catch_can_save_is_told_of(runtime_error):
    assert (runtime_error.status, runtime_error.execution["error"]) == ("FAILED", "States.Runtime")
    assert (runtime_error.message["status"], runtime_error.message["error_type"]) == ("failed", "FAILED")
    assert runtime_error.message["execution_arn"] == runtime_error.execution["executionArn"]
    chat, = runtime_error.chats
    assert chat["content"]["description"].startswith("Run run-with-a-runtime-error ended as FAILED")


# 4

def test_filters_read_the_message_and_not_attributes(stack):
    subscription = stack.properties("EmailSubscription")
    assert subscription["FilterPolicyScope"] == "MessageBody"
    either = subscription["FilterPolicy"]["$or"]
    assert either[0]["status"] == ["failed", "rejected"] and "AlarmName" in either[1]
    for target in stack.properties("EndedWithoutAMessage")["Targets"]:
        body = target["InputTransformer"]["InputTemplate"]
        assert '"status": "failed"' in body or '"eventType": "failed"' in body
    assert "MessageAttributes" not in deploy_guide() and '"FilterPolicyScope": "MessageBody"' in deploy_guide()


# 5

def test_the_failure_alarm_counts_timeouts_and_aborts(stack):
    alarm = stack.properties("PipelineFailureAlarm")
    names = {metric["MetricStat"]["Metric"]["MetricName"] for metric in alarm["Metrics"] if "MetricStat" in metric}
    assert names == {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}
    assert [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric] == ["SUM(METRICS())"]


# 6

def test_the_first_cluster_of_an_account_finds_its_role(stack):
    assert stack.properties("EcsRole") == {"AWSServiceName": "ecs.amazonaws.com"}
    assert {"Key": "service-linked-role", "Value": "EcsRole"} in stack.properties("Cluster")["Tags"]
    assert "EcsRole" not in Stack().resources()
    guide = deploy_guide()
    assert guide.index("aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com") < guide.index("aws cloudformation deploy")


# 7 and 11

@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::Glue::Database", "AWS::Glue::Table", "AWS::Logs::LogGroup"])
def test_data_and_logs_outlive_the_stack_but_not_a_rollback(stack, kind):
    found = stack.resources(kind)
    assert found
    for name, resource in found.items():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name


@pytest.mark.parametrize("prefix", ["", "staging-"])
def test_what_outlives_the_stack_is_named_so_that_a_new_stack_can_import_it(prefix):
    """By `--import-existing-resources` CloudFormation finds a resource by its primary identifier, which has to stand in the template."""
    chosen = Stack(EVERYTHING | {"NamePrefix": prefix})
    left = {name: resource for name, resource in chosen.resources().items() if resource.get("DeletionPolicy") == "RetainExceptOnCreate"}
    assert len(left) > 10
    for name, resource in left.items():
        identifier = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema["primaryIdentifier"]
        assert all(resource["Properties"].get(path.removeprefix("/properties/")) for path in identifier), (name, identifier)
    database, table = chosen.properties("Database"), chosen.properties("PredictionsTable")
    assert database["DatabaseName"] == database["DatabaseInput"]["Name"] == table["DatabaseName"] and table["Name"] == table["TableInput"]["Name"]


def test_the_guide_puts_the_template_where_the_change_set_reads_it():
    made = next(index for index, command in enumerate(commands()) if "--import-existing-resources" in command)
    where = re.search(r"--template-url https://([\w-]+)\.s3\.\$AWS_REGION\.amazonaws\.com/(\S+)", commands()[made])
    assert f"aws s3 cp task-definitions/stack.yaml s3://{where[1]}/{where[2]}" in commands()[:made]
    # The bucket that both ways to deploy upload to is made where there is none.
    deployed = next(index for index, command in enumerate(commands()) if command.startswith("aws cloudformation deploy"))
    assert f"aws s3 mb s3://{where[1]}" in commands()[:deployed] and f"--s3-bucket {where[1]}" in commands()[deployed]


# 8

def test_an_update_leaves_the_task_that_a_running_execution_names(stack):
    for name, resource in stack.resources("AWS::ECS::TaskDefinition").items():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain"), name
    from iam import Authorizer

    authorizer = Authorizer(stack)
    cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/ml-cluster"
    for revision in (1, 7):
        for family in ("training-task", "inference-task"):
            authorizer.check("PipelineRole", "ecs:RunTask", f"arn:aws:ecs:us-east-1:000000000000:task-definition/{family}:{revision}", ecs__cluster=cluster)
    with pytest.raises(Exception, match="not authorized"):
        authorizer.check("PipelineRole", "ecs:RunTask", "arn:aws:ecs:us-east-1:000000000000:task-definition/other:1", ecs__cluster=cluster)


# 9

def test_every_command_of_the_guide_goes_to_one_region():
    assert any(command.startswith("export AWS_REGION=") for command in commands())
    assert not [command for command in commands() if re.match(r"region=", command)]


def test_every_build_names_its_platform_and_no_tag_is_used_twice():
    builds = [command for command in commands() if re.search(r"\b(docker|podman) (build|buildx)", command)]
    assert builds and all("--platform" in command for command in builds)
    pushed = [command for command in commands() if "docker push" in command]
    assert pushed and all("$tag" in command for command in pushed) and not re.search(r":v1\b", "\n".join(commands()))
    assert any(re.match(r"tag=.*\$\(", command) for command in commands())


# 10

def test_the_memory_alarm_sees_a_task_that_was_killed(stack):
    alarm = stack.properties("MemoryAlarm")
    killed, = [metric["MetricStat"]["Metric"] for metric in alarm["Metrics"] if metric["Id"] == "killed"]
    rule = stack.properties("TaskKilled")
    assert (killed["Namespace"], killed["MetricName"], killed["Dimensions"]) == ("AWS/Events", "TriggeredRules", [{"Name": "RuleName", "Value": rule["Name"]}])
    expression, = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    assert "100 * FILL(killed, 0)" in expression
    detail = rule["EventPattern"]["detail"]
    assert detail["containers"] == {"exitCode": [137, 8]} and detail["stopCode"] == ["EssentialContainerExited"]
    families = {resource["Properties"]["Family"] for resource in stack.resources("AWS::ECS::TaskDefinition").values()}
    assert {group.removeprefix("family:") for group in detail["group"]} == families


# 11

def test_log_retention_is_one_that_cloudwatch_takes():
    allowed = pipeline.template()["Parameters"]["LogRetentionDays"]["AllowedValues"]
    assert {1, 7, 90, 365, 3653} <= set(allowed) and 91 not in allowed


def test_a_fail_state_quotes_one_text_that_has_a_limit_of_its_own():
    machine = pipeline.definition()["States"]
    assert {state["CausePath"] for state in machine.values() if state["Type"] == "Fail"} == {"$.failure.message.cause"}
    says = {name: state["Parameters"] for name, state in machine.items() if name.startswith("Say")}
    assert says["SayCause"]["cause.$"] == "$.failure.error.Cause"
    assert all("cause.$" in parameters and "brief.$" in parameters for parameters in says.values())


# Names

def names_of(stack: Stack) -> set:
    """Every name that the stack gives to something."""
    found = set()
    for name, resource in stack.resources().items():
        for key, value in resource["Properties"].items():
            # A table's name is one within its database.
            if resource["Type"] != "AWS::Glue::Table" and key in ("BucketName", "ClusterName", "Family", "LogGroupName", "TopicName", "QueueName", "FunctionName", "StateMachineName", "Name", "RoleName",
                       "AlarmName", "DashboardName", "PolicyName", "ConfigurationName", "ManagedPolicyName"):
                found.add((resource["Type"], value))
        if resource["Type"] in ("AWS::Glue::Database", "AWS::Glue::Table"):
            found.add((resource["Type"], json.dumps([resource["Properties"].get("DatabaseName", ""), (resource["Properties"].get("DatabaseInput") or resource["Properties"].get("TableInput"))["Name"]])))
        assert resource["Type"] != "AWS::IAM::Role" or "RoleName" not in resource["Properties"], f"{name}: a name would need CAPABILITY_NAMED_IAM"
    return found


def test_two_stacks_with_different_prefixes_share_no_name():
    one, two = (names_of(Stack(EVERYTHING | {"NamePrefix": prefix, "Bucket": f"{prefix}lake"})) for prefix in ("staging-", "production-"))
    assert len(one) == len(two) > 35 and not one & two


def test_a_stack_without_a_prefix_has_the_names_of_the_description():
    names = {name for _, name in names_of(Stack(EVERYTHING))}
    assert {"engagement-ml-pipeline", "pipeline-notifications", "ml-cluster", "training-task", "inference-task", "pre-cleanup", "data-prep", "create-qa-table",
            "create-results-table", "update-kb", "inference-prep"} <= names


# Permissions

INTEGRATIONS = {
    "lambda:invoke": {"lambda:InvokeFunction"},
    "ecs:runTask.sync": {"ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "iam:PassRole", "events:PutTargets", "events:PutRule", "events:DescribeRule"},
    "sns:publish": {"sns:Publish"}, "aws-sdk:s3:getObject": {"s3:GetObject", "s3:ListBucket"},
    "aws-sdk:glue:getTable": {"glue:GetTable"}, "aws-sdk:glue:createPartition": {"glue:CreatePartition"}, "aws-sdk:glue:updateTable": {"glue:UpdateTable"},
    "aws-sdk:bedrockagent:startIngestionJob": {"bedrock:StartIngestionJob"}, "aws-sdk:bedrockagent:getIngestionJob": {"bedrock:GetIngestionJob"},
}
LOG_DELIVERY = {"logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy",
                "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"}


def test_the_state_machine_may_make_its_calls_and_no_other(stack):
    resources = {state["Resource"].split(":::")[1] for state in pipeline.all_states(pipeline.definition()).values() if state["Type"] == "Task"}
    assert resources == set(INTEGRATIONS)
    assert actions_of(stack.resource("PipelineRole")) == set.union(*INTEGRATIONS.values()) | LOG_DELIVERY | {"kms:Decrypt"}


@pytest.mark.parametrize("parameter, denied", [("SourceDatabases", "glue"), ("SourceBuckets", "s3")])
def test_data_prep_reads_the_sources_that_are_named_and_no_other(parameter, denied):
    from iam import Authorizer, Denied

    authorizer = Authorizer(Stack(EVERYTHING))
    table, thing = "arn:aws:glue:us-east-1:000000000000:table", "arn:aws:s3:::"
    authorizer.check("DataPreparationRole", "glue:GetTable", f"{table}/web/visits")
    authorizer.check("DataPreparationRole", "s3:GetObject", f"{thing}sales-lake/orders/part-0.parquet")
    for action, resource in (("glue:GetTable", f"{table}/hr/salaries"), ("s3:GetObject", f"{thing}hr-lake/x"), ("s3:PutObject", f"{thing}sales-lake/x"),
                             ("s3:GetObject", f"{thing}lake/results/x"), ("s3:PutObject", f"{thing}lake/models/x")):
        with pytest.raises(Denied):
            authorizer.check("DataPreparationRole", action, resource)
    without = Authorizer(Stack(EVERYTHING | {parameter: ""}))
    with pytest.raises(Denied):
        without.check("DataPreparationRole", *{"glue": ("glue:GetTable", f"{table}/web/visits"), "s3": ("s3:GetObject", f"{thing}sales-lake/x")}[denied])


def test_no_function_may_publish_or_touch_models(stack):
    from iam import Authorizer, Denied

    authorizer = Authorizer(stack)
    latest = "arn:aws:glue:us-east-1:000000000000:table/engagement/results_latest"
    for name in pipeline.LAMBDAS:
        for action, resource in (("glue:UpdateTable", latest), ("glue:DeleteTable", latest), ("s3:PutObject", "arn:aws:s3:::lake/models/engagement/latest.json"),
                                 ("s3:DeleteObject", "arn:aws:s3:::lake/results/run_id=a/x"), ("s3:PutObject", "arn:aws:s3:::lake/scoring/latest.json"), ("s3:DeleteObject", "arn:aws:s3:::lake/prepared/x")):
            with pytest.raises(Denied):
                authorizer.check(f"{name}Role", action, resource)


# Storage

@pytest.mark.parametrize("chosen, tiered, expiring", [("intelligent-tiering", True, False), ("expire", False, True), ("standard", False, False)])
def test_what_becomes_of_predictions_results_and_checks_is_a_parameter(chosen, tiered, expiring):
    rules = Stack(EVERYTHING | {"ResultsStorage": chosen}).properties("Store")["LifecycleConfiguration"]["Rules"]
    for prefix in ("scoring/", "results/", "qa"):
        found = [rule for rule in rules if rule.get("Prefix") == prefix]
        assert any("Transitions" in rule for rule in found) == tiered
        assert any(rule.get("ExpirationInDays") == 400 for rule in found) == expiring


# The schedule

def test_a_schedule_that_does_not_fire_is_noticed(stack):
    assert Stack().properties("Schedule")["State"] == "DISABLED"
    target, = stack.properties("Schedule")["Targets"]
    assert target["DeadLetterConfig"]["Arn"] == stack.attribute("ScheduleDeadLetters.Arn")
    policy, = stack.properties("ScheduleDeadLettersPolicy")["PolicyDocument"]["Statement"]
    assert policy["Condition"] == {"ArnEquals": {"aws:SourceArn": stack.attribute("Schedule.Arn")}}
    silence = stack.properties("NoRunAlarm")
    assert silence["Period"] * silence["EvaluationPeriods"] == 7 * 86400 and silence["TreatMissingData"] == "breaching"
    assert (silence["ActionsEnabled"], Stack({"ScheduleState": "ENABLED"}).properties("NoRunAlarm")["ActionsEnabled"]) == (False, True)


# Messages and dashboard, as PIPELINE.md lists them

def description() -> str:
    """PIPELINE.md."""
    if not (SHARED / "PIPELINE.md").exists():
        pytest.skip(f"no {SHARED / 'PIPELINE.md'}")
    return (SHARED / "PIPELINE.md").read_text()


def shown(stack: Stack) -> dict:
    """What the dashboard shows: names of metrics by namespace; what is computed or queried by its label."""
    found = {}
    for widget in json.loads(stack.properties("Dashboard")["DashboardBody"])["widgets"]:
        properties = widget["properties"]
        previous = []
        for line in properties.get("metrics", []):
            if isinstance(line[0], dict):
                found.setdefault("computed", set()).add(line[0]["label"].split()[0])
                continue
            line = [value for value in line if not isinstance(value, dict)]
            if line[0] == "...":
                line = previous[:-1] + line[1:]
            line = [previous[index] if value == "." else value for index, value in enumerate(line)]
            found.setdefault(line[0], set()).add(line[1])
            previous = line
        if widget["type"] == "log":
            found.setdefault("queried", set()).update(re.findall(r" as (\w+) by", properties["query"]))
    return found


def test_the_dashboard_shows_every_metric_of_the_description(stack):
    text = description().split("The dashboard's metrics, all of them:")[1].split("\n\n")[0]
    kinds = {kind: set(re.findall(r"\w+", names)) for kind, names in re.findall(r"(Step Functions|Lambda|Fargate) `([^`]+)`", text)}
    found = shown(stack)
    assert kinds["Step Functions"] <= found["AWS/States"]
    assert kinds["Lambda"] <= found["AWS/Lambda"] | found["queried"]
    assert kinds["Fargate"] <= found["ECS/ContainerInsights"] | found["computed"]
    own = set(re.findall(r"\w+", re.search(r"custom metrics `([^`]+)`", description())[1]))
    assert own <= found["EngagementML"]
    alarms = next(widget for widget in json.loads(stack.properties("Dashboard")["DashboardBody"])["widgets"] if widget["type"] == "alarm")["properties"]["alarms"]
    assert set(alarms) == {stack.attribute(f"{name}.Arn") for name in stack.resources("AWS::CloudWatch::Alarm")}


def test_chat_and_pager_have_topics_of_their_own(stack):
    assert stack.properties("SlackChannel")["SnsTopicArns"] == [stack.outputs()["ChatTopicArn"]]
    assert stack.properties("PagerSubscription")["TopicArn"] == stack.outputs()["PagerTopicArn"]
    published = {state["Parameters"]["TopicArn"] for state in pipeline.all_states(pipeline.definition()).values() if state["Resource" if "Resource" in state else "Type"].endswith("sns:publish")}
    assert len(published) == 2
    paged = {name for name, alarm in stack.resources("AWS::CloudWatch::Alarm").items() if stack.outputs()["PagerTopicArn"] in alarm["Properties"]["AlarmActions"]}
    assert paged == {"PipelineFailureAlarm", "ScheduleAlarm", "NoRunAlarm"}


# Settings

def test_what_the_programs_offer_are_parameters(stack):
    chosen = Stack(EVERYTHING | {"MaxDrift": "0.3", "Columns": "region,plan", "TimeBudget": "60", "MaxR2Drop": "0.02", "Interval": "0.9", "Reasons": "3"})
    def environment(name):
        return {item["Name"]: item["Value"] for item in chosen.properties(name)["ContainerDefinitions"][0]["Environment"]}
    assert (environment("TrainingTask")["MAX_R2_DROP"], environment("TrainingTask")["TIME_BUDGET"]) == ("0.02", "60")
    of_predict = environment("InferenceTask")
    of_prep = chosen.properties("InferencePrepFunction")["Environment"]["Variables"]
    assert [of_prep[name] for name in ("COLUMNS", "INTERVAL", "REASONS")] == ["region,plan", "0.9", "3"]
    assert [of_predict[name] for name in ("MAX_DRIFT", "COLUMNS", "INTERVAL", "REASONS")] == ["0.3", "region,plan", "0.9", "3"]


def test_what_validation_is_by_is_told_to_train_and_to_data_prep(stack):
    chosen = Stack(EVERYTHING | {"TimeColumn": "month", "GroupColumn": "household", "Gap": "30d", "TestFraction": "0.3"})
    of_train = {item["Name"]: item["Value"] for item in chosen.properties("TrainingTask")["ContainerDefinitions"][0]["Environment"]}
    assert [of_train[name] for name in ("TIME_COLUMN", "GROUP_COLUMN", "GAP", "TEST_FRACTION")] == ["month", "household", "30d", "0.3"]
    of_data_prep = chosen.properties("DataPreparationFunction")["Environment"]["Variables"]
    assert [of_data_prep[name] for name in ("TIME_COLUMN", "GROUP_COLUMN", "TEST_FRACTION")] == ["month", "household", "0.3"]
    # Without them data-prep splits.
    unset = stack.properties("DataPreparationFunction")["Environment"]["Variables"]
    assert (unset["TIME_COLUMN"], unset["GROUP_COLUMN"]) == ("", "")


def test_the_workgroup_is_enforced_and_has_a_limit(stack):
    configuration = stack.properties("Workgroup")["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True and configuration["EngineVersion"] == {"SelectedEngineVersion": "Athena engine version 3"}
    assert configuration["BytesScannedCutoffPerQuery"] >= 10 * 1024 * 1024 and configuration["ResultConfiguration"]["OutputLocation"] == "s3://lake/tmp/athena/"


def test_functions_are_deployed_by_digest_and_get_their_settings(stack):
    readme = PROJECT / "functions/README.md"
    known = set(re.findall(r"`([A-Z_0-9]+)`", "\n".join(line.split("|")[1] for line in readme.read_text().splitlines() if line.startswith("| `")))) if readme.exists() else None
    for name, function in stack.resources("AWS::Lambda::Function").items():
        properties = function["Properties"]
        assert "@" in properties["Code"]["ImageUri"] and properties["PackageType"] == "Image" and len(properties["ImageConfig"]["Command"]) == 1, name
        assert known is None or set(properties["Environment"]["Variables"]) <= known, name


# What the functions' code asks of AWS, and what their roles list

MODULES = {"PreCleanup": "pre_cleanup", "DataPreparation": "data_prep", "InferencePrep": "inference_prep", "CreateQATable": "create_qa_table",
           "CreateResultsTable": "create_results_table", "UpdateBedrockKB": "update_kb"}
# What a query asks of Glue, by what makes it: AWS's user guide of Athena, "Configure access to databases and tables in the AWS Glue Data Catalog", and for
# tables with partitions the engine's three ways to look at them.
QUERY = {"glue:GetDatabase", "glue:GetDatabases"}
PARTITIONS = {"glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"}
MAKE = {"glue:GetTable", "glue:GetTables", "glue:CreateTable"}
STATEMENTS = {r"SHOW TABLES": {"glue:GetTables"}, r"DROP TABLE": {"glue:GetTable", "glue:DeleteTable"}, r"ADD COLUMNS": {"glue:GetTable", "glue:UpdateTable"},
              r"\bcreate\(": MAKE, r"\badd_partition\(": MAKE | {"glue:GetPartition", "glue:BatchCreatePartition"},
              # Tables with a partition for each run, and those that a user's SELECT names.
              r"predictions_table|RESULTS|\"results\"|\.as_table\(": {"glue:GetTable"} | PARTITIONS}
# The actions of S3 that a call of its SDK asks for.
S3_CALLS = {"get_object": "s3:GetObject", "head_object": "s3:GetObject", "put_object": "s3:PutObject", "list_objects_v2": "s3:ListBucket", "delete_object": "s3:DeleteObject",
            "create_multipart_upload": "s3:PutObject", "upload_part": "s3:PutObject", "complete_multipart_upload": "s3:PutObject", "abort_multipart_upload": "s3:AbortMultipartUpload"}
# What Athena asks for of the folder of results, and of a folder that UNLOAD writes to: what AWS's own policy AmazonAthenaFullAccess lists, but for making buckets.
S3_OF_ATHENA = {"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}


def code_of(module: str) -> str:
    """A function's Rust source without its tests."""
    folder = PROJECT / "functions/src"
    if not folder.exists():
        pytest.skip("no functions/ yet")
    files = [folder / f"{module}.rs", *sorted((folder / module).rglob("*.rs"))]
    return "\n".join(file.read_text().split("#[cfg(test)]")[0] for file in files if file.exists())


@pytest.mark.parametrize("name, module", MODULES.items())
def test_a_function_s_role_has_the_calls_of_athena_that_its_code_makes(stack, name, module):
    code, allowed = code_of(module), actions_of(stack.resource(f"{name}Role"))
    client = (PROJECT / "functions/src/athena/client.rs").read_text().split("#[cfg(test)]")[0]
    calls = {"athena:" + "".join(word.capitalize() for word in call.split("_")) for call in re.findall(r"client\s*\.(\w+)\(\)", client)}
    assert calls == {"athena:StartQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:StopQueryExecution"}
    assert {action for action in allowed if action.startswith("athena:")} == (calls if "queries" in code or "run_all" in code else set())


@pytest.mark.parametrize("name, module", MODULES.items())
def test_a_function_s_role_has_the_calls_of_glue_that_its_statements_make(stack, name, module):
    code, allowed = code_of(module), actions_of(stack.resource(f"{name}Role"))
    wanted = set.union(set(), *(actions for pattern, actions in STATEMENTS.items() if re.search(pattern, code)))
    if any(action.startswith("athena:") for action in allowed):
        wanted |= QUERY
    # Which of the user's databases data-prep asks for is a list of its own.
    assert {action for action in allowed if action.startswith("glue:")} == wanted


@pytest.mark.parametrize("name", [name for name in MODULES if name != "InferencePrep"])
def test_athena_may_look_at_the_database_called_default_but_at_no_table_of_it(stack, name):
    from iam import Authorizer, Denied

    authorizer, arn = Authorizer(stack), "arn:aws:glue:us-east-1:000000000000"
    for action in QUERY:
        for resource in ("catalog", "database/default", "database/engagement"):
            authorizer.check(f"{name}Role", action, f"{arn}:{resource}")
    for action, resource in (("glue:GetTable", "table/default/x"), ("glue:CreateTable", "database/default"), ("glue:GetDatabase", "database/hr")):
        with pytest.raises(Denied):
            authorizer.check(f"{name}Role", action, f"{arn}:{resource}")


def test_every_role_has_the_calls_of_s3_that_the_storage_crate_makes_and_no_other(stack):
    """A call that is new in the crate has to be put into the roles, and here."""
    files = [file for file in (PROJECT / "common/storage/src/s3").rglob("*.rs") if "tests" not in file.parts and file.name != "tests.rs"]
    made = {call for file in files for call in re.findall(r"\bclient\s*\.(\w+)\(\)", file.read_text())}
    assert made - {"config"} == set(S3_CALLS), "calls of the SDK that nobody has put into the roles, or that nobody makes"
    of_storage = set(S3_CALLS.values())
    for name, role in stack.resources("AWS::IAM::Role").items():
        if "Policies" not in role["Properties"]:
            continue
        actions = {action for action in actions_of(role) if action.startswith("s3:")}
        asks_athena = any(action.startswith("athena:") for action in actions_of(role))
        assert actions <= of_storage | (S3_OF_ATHENA if asks_athena else set()), name
        if asks_athena:
            assert S3_OF_ATHENA <= actions, name
    assert S3_OF_ATHENA <= actions_of(stack.resource("OperatorPolicy"))
    for task in ("TrainingTaskRole", "InferenceTaskRole"):
        assert {action for action in actions_of(stack.resource(task)) if action.startswith("s3:")} == of_storage, task


@pytest.mark.parametrize("name, module", MODULES.items())
def test_a_function_s_role_deletes_objects_only_if_its_code_does(stack, name, module):
    deletes = ".delete(" in code_of(module)
    assert ("s3:DeleteObject" in actions_of(stack.resource(f"{name}Role"))) == deletes
