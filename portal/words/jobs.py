"""What the page of a build or a delivery says."""

from __future__ import annotations

from types import SimpleNamespace

from schemas.text import Text

JOB = SimpleNamespace(
    tones={"done": "good", "failed": "warn", "waiting": "amber", "refused": "amber"},
    may_close=Text("可以关闭这个页面，进度会留着。", "You can close this page; the progress stays."),
    asked_by=Text("请求人", "Asked by"),
    asked_at=Text("请求时间", "Asked at"),
    ended_at=Text("结束时间", "Ended at"),
    seconds=Text("已用秒数", "Seconds so far"),
    usual=Text("通常需要秒数", "Seconds that it usually takes"),
    platform=Text("平台", "Platform"),
    rows=Text("写入行数", "Rows written"),
    users=Text("人数", "People"),
    said=Text("最近的消息", "Last said"),
    answer=Text("结果原文", "The answer in full"),
    refresh=Text("刷新", "Refresh"),
    take_back=Text("取消", "Take it back"),
    to_audience=Text("回到人群", "Back to the audience"),
    to_deliveries=Text("看投放记录", "See deliveries"),
)
