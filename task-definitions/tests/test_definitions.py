"""The files themselves: linters, AWS's own schemas, and what must hold in every state machine, task and role of ours."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import botocore.validate
import jsonschema
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

import pipeline
from pipeline import FOLDER, STACK

sys.path.insert(0, str(FOLDER))
import render  # noqa: E402

TASKS = {"training-task.json": "training-container", "inference-task.json": "inference-container"}


def tool(name: str) -> str:
    """A command of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def run(*command) -> subprocess.CompletedProcess:
    """A finished command with its output."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def task(file: str) -> dict:
    """A task definition with its placeholders filled in by readable values."""
    text = re.sub(r"\$\{CpuArchitecture\}", "X86_64", (FOLDER / file).read_text())
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda match: match[1].lower(), text))


@pytest.fixture(scope="module")
def states() -> dict:
    """Every state of the machine by its name."""
    return pipeline.all_states(pipeline.definition())


def test_statelint(tmp_path):
    file = tmp_path / "state-machine.asl.json"
    file.write_text(json.dumps(pipeline.definition()))
    linted = run(tool("statelint"), file)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_statelint_would_find_a_dangling_next(tmp_path):
    file = tmp_path / "broken.asl.json"
    file.write_text(json.dumps(pipeline.definition()).replace('"Next": "PreCleanup"', '"Next": "PreCleanupp"'))
    linted = run(tool("statelint"), file)
    assert "PreCleanupp" in linted.stdout + linted.stderr


def test_cfn_lint():
    linted = run(tool("cfn-lint"), STACK)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_stack_holds_the_files_as_they_are():
    checked = run(sys.executable, FOLDER / "render.py", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_stack_fills_every_placeholder_of_the_state_machine():
    used = set(re.findall(r"\$\{(\w+)\}", pipeline.STATE_MACHINE.read_text()))
    properties = pipeline.template()["Resources"]["Pipeline"]["Properties"]
    assert set(properties["DefinitionSubstitutions"]) == used == set(pipeline.substitutions("bucket", "topic"))
    assert json.loads(properties["DefinitionString"]) == json.loads(pipeline.STATE_MACHINE.read_text())


@pytest.mark.parametrize("file", TASKS)
def test_a_task_definition_is_what_ecs_takes(file):
    shape = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    botocore.validate.validate_parameters(task(file), shape)
    enums = {member: shape.members[member].enum for member in ("networkMode",)} | {
        "operatingSystemFamily": shape.members["runtimePlatform"].members["operatingSystemFamily"].enum,
        "cpuArchitecture": shape.members["runtimePlatform"].members["cpuArchitecture"].enum}
    definition = task(file)
    assert definition["networkMode"] in enums["networkMode"]
    assert all(value in enums[key] for key, value in definition["runtimePlatform"].items())


@pytest.mark.parametrize("file", TASKS)
def test_a_misspelt_task_definition_would_be_found(file):
    shape = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    with pytest.raises(Exception, match="readOnlyRootFilesystem"):
        broken = task(file)
        broken["containerDefinitions"][0]["readOnlyRootFilesystem"] = True
        botocore.validate.validate_parameters(broken, shape)


def misfits(definition: dict) -> list:
    """Where a task definition does not fit AWS's JSON schema of one, which cfn-lint brings along; its names are capitalised."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::ECS::TaskDefinition").schema
    # Not checked itself: its patterns for tags, which we have none of, are in another dialect than Python's.
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(render.in_the_stack(definition))]


@pytest.mark.parametrize("file", TASKS)
def test_a_task_definition_fits_aws_s_json_schema(file):
    assert misfits(task(file)) == []


@pytest.mark.parametrize("change", [{"networkMode": ["awsvpc"]}, {"memory": 4096}, {"containerDefinition": []}, {"ephemeralStorage": {"sizeInGib": 21}}])
def test_the_json_schema_would_refuse(change):
    assert misfits(task("training-task.json") | change)


@pytest.mark.parametrize("file, name", TASKS.items())
def test_a_container_is_confined(file, name):
    definition = task(file)
    container, = definition["containerDefinitions"]
    assert (definition["requiresCompatibilities"], definition["networkMode"]) == (["FARGATE"], "awsvpc")
    assert container["name"] == name
    assert container["readonlyRootFilesystem"] is True
    assert container["user"].split(":")[0] == "65532"
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert container["stopTimeout"] == 120
    assert container["memory"] == int(definition["memory"])
    assert [mount["containerPath"] for mount in container["mountPoints"] if not mount["readOnly"]] == ["/tmp"]
    assert {volume["name"] for volume in definition["volumes"]} == {mount["sourceVolume"] for mount in container["mountPoints"]}
    assert definition["ephemeralStorage"]["sizeInGiB"] >= 21
    assert container["logConfiguration"]["options"]["mode"] == "non-blocking"
    assert "max-buffer-size" in container["logConfiguration"]["options"]
    assert "secrets" not in container


def test_the_tasks_sizes_are_the_stack_s_defaults():
    read = pipeline.template()
    for file, parameter in (("training-task.json", "TrainingSize"), ("inference-task.json", "InferenceSize")):
        size = read["Mappings"]["Sizes"][read["Parameters"][parameter]["Default"]]
        assert (task(file)["cpu"], task(file)["memory"]) == (size["Cpu"], size["Memory"])


def fargate_allows(cpu: int, memory: int) -> bool:
    """Whether Fargate has this size: vCPU in 1/1024, memory in MiB (Amazon ECS developer guide, task size)."""
    lowest, highest, step = {256: (512, 2048, 512), 512: (1024, 4096, 1024), 1024: (2048, 8192, 1024), 2048: (4096, 16384, 1024),
                             4096: (8192, 30720, 1024), 8192: (16384, 61440, 4096), 16384: (32768, 122880, 8192)}[cpu]
    return lowest <= memory <= highest and (memory - lowest) % step == 0


def test_every_size_can_be_doubled():
    read = pipeline.template()
    for name, size in read["Mappings"]["Sizes"].items():
        cpu, memory = int(size["Cpu"]), int(size["Memory"])
        assert name == f"{cpu // 1024}vCPU-{memory // 1024}GB"
        assert fargate_allows(cpu, memory) and fargate_allows(cpu, 2 * memory), name
    for parameter in ("TrainingSize", "InferenceSize"):
        assert set(read["Parameters"][parameter]["AllowedValues"]) == set(read["Mappings"]["Sizes"])


def test_every_state_that_can_fail_catches_everything(states):
    for name, state in states.items():
        # The error of a shard of a training is its Map's.
        if state["Type"] in ("Task", "Parallel", "Map") and name != "TrainingShard":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_every_task_has_a_timeout(states):
    assert [name for name, state in states.items() if state["Type"] == "Task" and "TimeoutSeconds" not in state] == []


def test_the_machine_s_timeout_is_longer_than_its_states_together(states):
    # Shards run side by side, and in place of the one task.
    ends = {"NotifyRejected", "ChatRejected", "NotifyFailure", "ChatFailure", "FindPreviousModel", "InferenceShard", "TrainingShard"}
    together = sum(state["TimeoutSeconds"] for name, state in states.items() if state["Type"] == "Task" and name not in ends | {"InferencePrep", "CreateQATable", "Evaluation"})
    assert states["Evaluation"]["TimeoutSeconds"] < states["Training"]["TimeoutSeconds"]
    knowledge = 39 * states["PlanIngestion"]["Parameters"]["wait"]
    assert together + knowledge < pipeline.definition()["TimeoutSeconds"] == 7200


def test_each_function_ends_before_its_state_gives_up(states):
    """Two attempts never overlap: Lambda has killed the first before the state asks for the second."""
    found = pipeline.stack()["Resources"]
    for name, seconds in {"PreCleanup": 55, "DataPreparation": 175, "InferencePrep": 55, "CreateQATable": 55, "CreateResultsTable": 115, "UpdateBedrockKB": 175}.items():
        assert (states[name]["TimeoutSeconds"], found[f"{name}Function"]["Properties"]["Timeout"]) == (seconds + 5, seconds)
        assert states[name]["Parameters"]["FunctionName"].endswith(f":function:{found[f'{name}Function']['Properties']['FunctionName']}")


def test_a_cause_is_parsed_in_one_guarded_place(states):
    parsing = [name for name, state in states.items() if "StringToJson($.failure.error.Cause)" in json.dumps(state) and state["Type"] == "Pass"]
    assert set(parsing) == {"ParseCause", "ParseFunctionError"}
    assert all(states[name]["Type"] == "Parallel" and states[name]["Catch"] for name in ("ReadTask", "ReadFunctionError"))


def test_the_root_of_the_data_is_never_replaced(states):
    top = pipeline.definition()["States"]
    replacing = [name for name, state in top.items() if state["Type"] in ("Task", "Pass", "Parallel") and state.get("ResultPath", "$") == "$"]
    assert replacing == ["InvalidInput", "SetDefaults", "MergeInput", "ReadInput", "HandleError"]


def test_training_and_inference_retry_alike(states):
    """The two loops differ in names alone, but for the gate and for shards, which have a loop of their own in scoring and none in training."""
    pairs = {"Training": "Inference", "WaitToTrain": "WaitToInfer", "TrainAgain": "InferAgain", "TrainWithMoreMemory": "InferWithMoreMemory"}

    def renamed(state):
        text = json.dumps(state).replace("OneTrainingOrShards", "Training").replace(', "shards.$": "$.task.shards"', "")
        for training, inference in pairs.items():
            text = text.replace(training, inference)
        return json.loads(text)

    for name in ("TrainingRetriesLeft", "WaitToTrain", "TrainAgain", "TrainWithMoreMemory"):
        assert renamed(states[name]) == states[pairs.get(name, name.replace("Training", "Inference"))]
    choices = [choice for choice in renamed(states["ClassifyTraining"])["Choices"] if choice["Next"] != "InferenceRejected"]
    assert choices == states["ClassifyInference"]["Choices"]


def test_a_shard_is_tried_again_as_the_one_task_is(states):
    """The loop inside of the Map differs in names alone."""
    pairs = {"InferenceRetriesLeft": "ShardRetriesLeft", "WaitToInfer": "WaitToInferShard", "InferAgain": "InferShardAgain", "InferWithMoreMemory": "InferShardWithMoreMemory",
             "ClassifyInference": "ClassifyShard", "InferenceFailed": "ShardFailed", "InferenceSucceeded": "ShardSucceeded", "Inference": "InferenceShard"}
    for name, of_shard in pairs.items():
        if name in ("InferenceFailed", "InferenceSucceeded"):
            continue
        text = json.dumps(states[name])
        for one, shard in pairs.items():
            text = text.replace(f'"{one}"', f'"{shard}"')
        assert json.loads(text) == states[of_shard], name


@pytest.mark.parametrize("name, map_state", [("PredictShards", "InferenceShards"), ("TrainShards", "TrainingShards")])
def test_there_are_no_more_shards_than_an_inline_map_runs_at_once(states, name, map_state):
    parameter = pipeline.template()["Parameters"][name]
    assert (parameter["Default"], parameter["MinValue"], parameter["MaxValue"]) == (1, 1, 40)
    assert states[map_state]["MaxConcurrency"] == 40 and states[map_state]["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}


def test_shards_of_a_training_are_tried_again_together(states):
    """One of them learns nothing alone, so the Map has no loop inside: each task is that of a training in one task."""
    assert {key: value for key, value in states["TrainingShard"].items() if key != "End"} == {
        key: value for key, value in states["Training"].items() if key not in ("ResultPath", "Catch", "Next")}
    assert states["TrainingShards"]["Catch"] == states["Training"]["Catch"]
    for name in ("TrainingVariables", "TrainAgain", "TrainWithMoreMemory"):
        assert states[name]["Next"] == "OneTrainingOrShards"


def test_shards_of_a_training_reach_each_other():
    one, several = (pipeline.Stack({"TrainShards": count}).resources("AWS::EC2::SecurityGroupIngress") for count in (1, 2))
    rule, = several.values()
    assert not one and rule["Properties"]["GroupId"] == rule["Properties"]["SourceSecurityGroupId"]


def test_the_waits_between_attempts(states):
    assert (states["PlanInference"]["Parameters"]["wait"], states["InferAgain"]["Parameters"]["wait"]) == (30, 45)


def test_tasks_run_on_spot_with_on_demand_behind_it(states):
    for name in ("Training", "TrainingShard", "Inference", "InferenceShard"):
        parameters = states[name]["Parameters"]
        assert [item["CapacityProvider"] for item in parameters["CapacityProviderStrategy"]] == ["FARGATE_SPOT", "FARGATE"]
        assert "LaunchType" not in parameters


def statements() -> list:
    """Every statement of every role of the stack, with the role's name."""
    found = []
    for name, resource in pipeline.template()["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                policy = policy["Fn::If"][1] if "Fn::If" in policy else policy
                found += [(name, statement) for statement in policy["PolicyDocument"]["Statement"]]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            found += [(name, statement) for statement in resource["Properties"]["PolicyDocument"]["Statement"]]
    return found


def test_no_role_may_everything():
    everywhere = [(name, statement["Action"]) for name, statement in statements() if statement["Resource"] in ("*", ["*"])]
    # Those have no resource to name (Service Authorization Reference).
    assert everywhere == [
        ("ExecutionRole", "ecr:GetAuthorizationToken"),
        ("PipelineRole", ["logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
                          "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"]),
        ("OperatorPolicy", ["states:ListStateMachines", "logs:DescribeLogGroups"]), ("OperatorPolicy", "logs:GetQueryResults")]
    actions = [action for _, statement in statements() for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])]
    assert [action for action in actions if "*" in action] == []


def test_roles_are_passed_to_tasks_only():
    passing = [statement for _, statement in statements() if statement["Action"] == "iam:PassRole"]
    assert len(passing) == 2
    for statement in passing:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_train_cannot_touch_predictions_nor_predict_models():
    def writable(role):
        return json.dumps([statement["Resource"] for name, statement in statements() if name == role and "s3:PutObject" in statement["Action"]])
    assert "ModelsPrefix" in writable("TrainingTaskRole") and "OutputPrefix" not in writable("TrainingTaskRole")
    assert "OutputPrefix" in writable("InferenceTaskRole") and "ModelsPrefix" not in writable("InferenceTaskRole")


def test_an_evaluation_writes_what_came_true_and_nothing_of_a_model():
    from iam import Authorizer, Denied

    authorizer, bucket = Authorizer(pipeline.Stack({"Bucket": "lake"})), "arn:aws:s3:::lake"
    for key in ("scoring/runs/r/actuals.json", "scoring/runs/r/report.html", "scoring/index.html", "scoring/history.json", "models/engagement/realized/r.json",
                "models/engagement/index.html", "models/engagement/history.json"):
        authorizer.check("EvaluationRole", "s3:PutObject", f"{bucket}/{key}")
    for action, key in (("s3:PutObject", "models/engagement/latest.json"), ("s3:PutObject", "models/engagement/v1/r/model.ubj"), ("s3:PutObject", "models/engagement/v1/latest.json"),
                        ("s3:PutObject", "scoring/latest.json"), ("s3:PutObject", "scoring/runs/r/manifest.json"), ("s3:PutObject", "scoring/runs/r/result.json"),
                        ("s3:PutObject", "scoring/predictions/run_id=r/part-00000.parquet"), ("s3:PutObject", "prepared/x"), ("s3:DeleteObject", "models/engagement/realized/r.json")):
        with pytest.raises(Denied):
            authorizer.check("EvaluationRole", action, f"{bucket}/{key}")


def test_the_schedule_is_the_seed_s():
    rule = pipeline.stack()["Resources"]["Schedule"]["Properties"]
    assert rule["ScheduleExpression"] == "cron(0 3 ? * MON *)"
    assert json.loads(rule["Targets"][0]["Input"]) == {"model_version": "v1.2.0", "environment": "prod"}


def alarms() -> dict:
    """The alarms of the stack by the name that PIPELINE.md gives them."""
    resources = pipeline.stack()["Resources"].values()
    return {resource["Properties"]["AlarmName"].removeprefix("engagement-ml "): resource["Properties"]
            for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"}


def metrics_of(alarm: dict) -> set:
    """The metrics behind an alarm, as pairs of namespace and name."""
    if "Namespace" in alarm:
        return {(alarm["Namespace"], alarm["MetricName"])}
    found = [metric["MetricStat"]["Metric"] for metric in alarm["Metrics"] if "MetricStat" in metric]
    return {(metric["Namespace"], metric["MetricName"]) for metric in found}


def test_the_alarms():
    found = {name: (alarm["ComparisonOperator"], alarm["Threshold"]) for name, alarm in alarms().items()}
    assert found == {
        "Pipeline Failure": ("GreaterThanThreshold", 0), "Long Execution": ("GreaterThanThreshold", 70 * 60 * 1000),
        "Lambda Errors": ("GreaterThanThreshold", 3), "Fargate Memory": ("GreaterThanThreshold", 95), "Low Accuracy": ("LessThanThreshold", 0.75),
        "Low Realized Accuracy": ("LessThanThreshold", 0.75),
        "Schedule": ("GreaterThanThreshold", 0), "No Run For A Week": ("LessThanThreshold", 1)}
    errors = [metric["MetricStat"] for metric in alarms()["Lambda Errors"]["Metrics"] if "MetricStat" in metric]
    functions = {resource["Properties"]["FunctionName"] for resource in pipeline.Stack().resources("AWS::Lambda::Function").values()}
    assert {metric["Metric"]["Dimensions"][0]["Value"] for metric in errors} == functions and {metric["Period"] for metric in errors} == {300}
    outputs = pipeline.Stack().outputs()
    for name, alarm in alarms().items():
        assert alarm["AlarmActions"][:2] == [outputs["TopicArn"], outputs["ChatTopicArn"]], name
        assert alarm["TreatMissingData"] == ("breaching" if name == "No Run For A Week" else "notBreaching")
        # What a pager opens it has to close as well.
        assert (outputs["PagerTopicArn"] in alarm["AlarmActions"]) == (alarm.get("OKActions") == [outputs["PagerTopicArn"]])


def test_the_bucket_s_lifecycle():
    properties = pipeline.stack()["Resources"]["Store"]["Properties"]
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    models = rules["models-to-intelligent-tiering"]
    assert (models["Prefix"], models["Transitions"]) == ("models/", [{"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 0}])
    assert "IntelligentTieringConfigurations" not in properties
    assert not any("ExpirationInDays" in rule for rule in rules.values() if rule.get("Prefix", "") in ("", "models/", "scoring/"))
    assert {rules["expire-temporary-files"]["Prefix"], rules["expire-prepared-data"]["Prefix"]} == {"tmp/", "prepared/"}
    assert rules["abort-unfinished-uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 7


def test_the_predictions_table_is_partitioned_by_run():
    table = pipeline.stack()["Resources"]["PredictionsTable"]["Properties"]["TableInput"]
    assert table["PartitionKeys"] == [{"Name": "run_id", "Type": "string"}]
    assert table["StorageDescriptor"]["Location"].endswith("/scoring/predictions/")
    assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == ["customer_id", "prediction", "model_version"]


def test_the_lifecycle_file_is_the_stack_s():
    """lifecycle.json, for a bucket that exists already, says what the stack says of a bucket that it makes."""
    rules = {rule["ID"]: rule for rule in json.loads((FOLDER / "lifecycle.json").read_text())["Rules"]}
    shape = botocore.session.get_session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration").input_shape
    botocore.validate.validate_parameters({"Bucket": "b", "LifecycleConfiguration": {"Rules": list(rules.values())}}, shape)
    stack = pipeline.stack()["Resources"]["Store"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert set(rules) == {rule["Id"] for rule in stack}
    for rule in stack:
        same = rules[rule["Id"]]
        assert (same["Status"], same["Filter"]["Prefix"]) == (rule["Status"], rule.get("Prefix", ""))
        assert same.get("Expiration", {}).get("Days") == rule.get("ExpirationInDays")
        assert same.get("AbortIncompleteMultipartUpload") == rule.get("AbortIncompleteMultipartUpload")
        tiers = [(step["Days"], step["StorageClass"]) for step in same.get("Transitions", [])]
        assert tiers == [(step["TransitionInDays"], step["StorageClass"]) for step in rule.get("Transitions", [])]


def test_the_athena_ddl_is_the_stack_s_table():
    sql = (FOLDER / "predictions.sql").read_text()
    table = pipeline.stack()["Resources"]["PredictionsTable"]["Properties"]["TableInput"]
    columns = re.search(r"engagement\.predictions \((.*?)\)", sql, re.S)[1].replace("\n", " ").split(",")
    assert [column.split() for column in columns] == [[column["Name"], column["Type"]] for column in table["StorageDescriptor"]["Columns"]]
    assert "PARTITIONED BY (run_id string)" in sql and "STORED AS PARQUET" in sql
    assert "s3://YOUR-BUCKET/scoring/predictions/" in sql


def blocks(language: str) -> list:
    """The blocks of code of one language in docs/deploy.md."""
    return re.findall(rf"```{language}\n(.*?)```", (pipeline.PROJECT / "docs/deploy.md").read_text(), re.S)


def documented_aws_calls() -> list:
    """Every call of the AWS CLI in README.md and docs/, as words."""
    calls = []
    for document in [pipeline.PROJECT / "README.md", *sorted((pipeline.PROJECT / "docs").glob("*.md"))]:
        text = document.read_text()
        code = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.S | re.M) + re.findall(r"`(aws [^`]+)`", text)
        for part in code:
            # Commands end at these signs, unless they are quoted.
            plain = re.sub(r"\\\n", " ", part)
            for command in re.findall(r"""(?:'[^']*'|"[^"]*"|\$[a-z]|[^'"\n|;&$()])+""", plain):
                if command.strip().startswith("aws "):
                    calls.append((document.name, shlex.split(command, comments=True)))
    return calls


# What the AWS CLI adds to the API.
OF_THE_CLI = {
    ("cloudformation", "deploy"): {"stack-name", "template-file", "s3-bucket", "capabilities", "parameter-overrides"},
    ("ecr", "get-login-password"): set(),
    ("s3", "sync"): {"exclude", "include"},
    ("s3", "cp"): set(),
    ("s3", "mb"): set(),
}
# Where the CLI calls a member by another name than the API.
RENAMED = {("sns", "subscribe"): {"notification-endpoint": "endpoint"}}
GLOBAL_OPTIONS = {"query", "output", "region", "profile"}


def test_every_documented_aws_call_exists():
    calls = documented_aws_calls()
    for document, (_, service, operation, *words) in calls:
        options = {word[2:].split("=")[0] for word in words if word.startswith("--")} - GLOBAL_OPTIONS
        options = {RENAMED.get((service, operation), {}).get(option, option) for option in options}
        known = OF_THE_CLI.get((service, operation))
        if known is None:
            model = botocore.session.get_session().get_service_model("s3" if service == "s3api" else service)
            if operation == "wait":
                # A waiter asks one operation until it answers as hoped for.
                waiters = botocore.session.get_session().get_waiter_model(service)
                names = {botocore.xform_name(name, "-"): name for name in waiters.waiter_names}
                assert words[0] in names, f"{document}: aws {service} wait {words[0]}"
                operation = botocore.xform_name(waiters.get_waiter(names[words[0]]).operation, "-")
            names = {botocore.xform_name(name, "-"): name for name in model.operation_names}
            assert operation in names, f"{document}: aws {service} {operation}"
            shape = model.operation_model(names[operation]).input_shape
            known = {botocore.xform_name(name, "-") for name in (shape.members if shape else ())}
            required = {botocore.xform_name(name, "-") for name in (shape.required_members if shape else ())}
            assert required <= options, f"{document}: aws {service} {operation} lacks {required - options}"
        assert options <= known, f"{document}: aws {service} {operation} has no {options - known}"
    assert len(calls) >= 12


def test_the_documented_command_deploys_the_stack():
    command, = [block for block in blocks("sh") if "cloudformation deploy" in block]
    given = dict(word.split("=", 1) for word in command.replace("\\\n", " ").split("--parameter-overrides")[1].split())
    parameters = pipeline.template()["Parameters"]
    assert set(given) <= set(parameters)
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= set(given)
    assert "CAPABILITY_IAM" in command and "--s3-bucket" in command


def test_the_documented_parameters_have_the_documented_defaults():
    parameters = pipeline.template()["Parameters"]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", (pipeline.PROJECT / "docs/deploy.md").read_text(), re.M)
    checked = 0
    for names, defaults in rows:
        names, defaults = re.findall(r"`(\w+)`", names), defaults.split(", ")
        if names[0] not in parameters:
            continue
        for name, default in zip(names, defaults if len(defaults) == len(names) else defaults * len(names), strict=True):
            assert str(parameters[name]["Default"]) == default.strip("`").replace("–", ""), name
            checked += 1
    assert checked >= 15


def test_the_documented_input_is_accepted():
    command, = [block for block in blocks("sh") if "start-execution" in block]
    assert json.loads(re.search(r"--input '(.*?)'", command)[1]) == {"model_version": "v1.2.0", "environment": "prod", "trigger": "manual"}
    overrides, = [re.search(r"--overrides '(.*?)'", block, re.S)[1] for block in blocks("sh") if "--overrides" in block]
    shape = botocore.session.get_session().get_service_model("ecs").operation_model("RunTask").input_shape.members["overrides"]
    botocore.validate.validate_parameters(json.loads(overrides), shape)
