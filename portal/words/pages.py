"""What the pages say, in Chinese and English. Words of tags and segments are the catalogue's, those of figures the report's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

from portal.sign_in.roles import Permission
from schemas.text import Text


class NavigationEntry(NamedTuple):
    """An entry of the navigation, for those who have the permission."""

    path: str
    name: Text
    permission: Permission


NAV = (
    NavigationEntry("/", Text("首页", "Home"), "home.read"),
    NavigationEntry("/tags", Text("标签", "Tags"), "tags.read"),
    NavigationEntry("/segments", Text("分群", "Segments"), "segments.read"),
    NavigationEntry("/audiences", Text("人群", "Audiences"), "audiences.read"),
    NavigationEntry("/deliveries", Text("投放", "Deliveries"), "deliveries.read"),
    NavigationEntry("/campaigns", Text("活动", "Campaigns"), "campaigns.read"),
    NavigationEntry("/users", Text("用户", "One user"), "users.read"),
    NavigationEntry("/admin", Text("管理", "Admin"), "admin"),
)

WORDS = SimpleNamespace(
    product=Text("画像", "Huaxiang"),
    skip=Text("跳到正文", "Skip to content"),
    menu=Text("主导航", "Main navigation"),
    other_language=Text("English", "中文"),
    theme=Text("主题", "Theme"),
    light=Text("浅色", "Light"),
    dark=Text("深色", "Dark"),
    sign_out=Text("退出", "Sign out"),
    sign_in=Text("登录", "Sign in"),
    login=Text("用户名", "Name"),
    password=Text("密码", "Password"),
    company_account=Text("用公司账号登录", "Sign in with the company account"),
    to_home=Text("回首页", "Home"),
    as_of=Text("截止业务日", "Business day"),
    release=Text("发布", "Release"),
    no_release=Text("还没有发布：请数据工程师运行 huaxiang run。", "There is no release yet: ask the data engineer to run `huaxiang run`."),
    numbers=Text("数据表", "Numbers"),
    source=Text("来源", "Source"),
    charts_need_script=Text("图需要启用脚本；数据表无需脚本。", "Charts need scripts; the tables do not."),
    people=Text("人数", "People"),
    share=Text("占比", "Share"),
    none=Text("没有。", "None."),
    search=Text("搜索", "Search"),
    show=Text("显示", "Show"),
    all=Text("全部", "All"),
    used=Text("使用中", "Used"),
    unused=Text("未被使用", "Not used"),
    value=Text("取值", "Value"),
    tag=Text("标签", "Tag"),
    owner=Text("负责人", "Owner"),
    kind=Text("类型", "Kind"),
    build_audience=Text("圈选", "Audience"),
    problem=Text("出了问题", "Something is wrong"),
    # home
    home_title=Text("今天的用户", "Our users today"),
    attention=Text("需要留意", "Needs attention"),
    calm=Text("没有触发预警，也没有被冻结的标签。", "No alert is raised and no tag is held."),
    feeds=Text("数据到达", "How fresh the data is"),
    feed=Text("数据", "Feed"),
    last_event=Text("最近一条记录", "Latest record"),
    last_ingest=Text("最近一次读入", "Last taken"),
    rows=Text("行数", "Rows"),
    quarantined=Text("隔离", "Quarantined"),
    refused=Text("被拒收的文件，不在任何数字里", "Refused files; they are in no number"),
    last_warnings=Text("最近一次运行的提示", "Warnings of the last run"),
    what_next=Text("接下来", "What next"),
    to_new_audience=Text("新建人群", "New audience"),
    # tags
    tags_title=Text("标签", "Tags"),
    tags_lead=Text(
        "每个标签是什么、覆盖多少人、谁在用。点标签名看分布、口径和来源。",
        "What each tag means, how many people it covers and who uses it. Its name leads to distribution, definition and origin.",
    ),
    tag_search=Text("按名称、编号或拼音首字母搜索", "Search by name, id or pinyin initials"),
    coverage_members=Text("会员覆盖", "Members covered"),
    verdict=Text("变化", "Drift"),
    used_by=Text("使用者", "Used by"),
    heat=Text("浏览 7/30/90 天", "Looks in 7/30/90 days"),
    no_tag_found=Text("没有匹配的标签。", "No tag matches."),
    meaning=Text("含义", "Meaning"),
    window=Text("统计窗口", "Window"),
    days=Text("天", "days"),
    ever=Text("历来", "ever"),
    declared_at=Text("定义于", "Declared at"),
    distribution=Text("分布", "Distribution"),
    members=Text("会员", "Members"),
    visitors=Text("访客", "Visitors"),
    strategies=Text("取值与策略", "Values and what to do"),
    strategy=Text("策略", "What to do"),
    lineage=Text("由什么计算而来", "What it is made from"),
    lineage_kinds={
        "tag": Text("标签", "Tag"),
        "fact": Text("事实", "Fact"),
        "attribute": Text("资料", "Attribute"),
        "break": Text("分位点", "Cut"),
        "model": Text("模型", "Model"),
    },
    seen_above=Text("（见上）", "(see above)"),
    feeds_of=Text("来自数据", "From the data"),
    uses={"audience": Text("人群", "Audience"), "campaign": Text("活动", "Campaign")},
    used_by_tags=Text("用到它的标签", "Tags that use it"),
    used_by_audiences=Text("用到它的人群", "Audiences that use it"),
    quality=Text("质量", "Quality"),
    known=Text("有值", "Known"),
    shown_first=Text("只列最多的取值", "Only the most frequent values"),
    # segments
    segments_title=Text("分群", "Segments"),
    segments_lead=Text(
        "每种分法一页；表里的每一格都可以直接圈成人群。",
        "A page for each way to segment; every segment below can be made an audience.",
    ),
    schemes=Text("所有分群方案", "Every segmentation"),
    segment=Text("分群", "Segment"),
    needs=Text("需求", "Needs"),
    resources=Text("资源", "Resources"),
    pages_of_segments=Text("分群页面", "Pages of segments"),
)  # fmt: skip

DELIVERIES = SimpleNamespace(
    title=Text("投放", "Deliveries"),
    lead=Text(
        "每次投放给了谁、少了谁、为什么；文件在此下载，下载会被记录。",
        "Who got each delivery, who did not and why; files are downloaded here, and every download is noted.",
    ),
    audience=Text("人群", "Audience"),
    platform=Text("平台", "Platform"),
    own_file=Text("自有文件", "own file"),
    campaign=Text("活动", "Campaign"),
    made=Text("交付时间", "Delivered"),
    rows=Text("行数", "Rows"),
    moved=Text("较上次", "Against the last"),
    asked_by=Text("发起人", "Asked by"),
    funnel=Text("漏斗", "Funnel"),
    step=Text("步骤", "Step"),
    lost=Text("减少的人与原因", "Who was lost, and why"),
    files=Text("文件", "Files"),
    file=Text("文件", "File"),
    size=Text("大小", "Size"),
    checksum=Text("校验和", "Checksum"),
    columns=Text("列", "Columns"),
    purpose=Text("用途（会被记录）", "What for (it is noted)"),
    download=Text("下载", "Download"),
    gone=Text("已不在原处", "not in its place any more"),
    rejected=Text("被拒绝的值", "Refused values"),
    withheld=Text("未给出的联系方式", "Contacts withheld"),
    notes=Text("提示", "Notes"),
    newer=Text("较新", "Newer"),
    older=Text("较旧", "Older"),
    none=Text("还没有投放。", "Nothing has been delivered yet."),
    only=Text("只看人群", "Only audience"),
)  # fmt: skip

CAMPAIGNS = SimpleNamespace(
    title=Text("活动", "Campaigns"),
    none=Text(
        "还没有活动：把定义放进 campaigns/，再用 huaxiang campaign plan 开始。",
        "There is no campaign yet: put a definition into campaigns/ and begin with `huaxiang campaign plan`.",
    ),
)  # fmt: skip

USERS = SimpleNamespace(
    title=Text("用户", "One user"),
    lead=Text(
        "按用户标识查一个人。个人数据已打码；查看明文需说明用途并会被记录。",
        "Look one person up. Personal data is masked; looking at it in clear needs a purpose and is noted.",
    ),
    who=Text("用户标识 user_id、编号 uid 或会员号", "user_id, uid or member id"),
    by_member=Text("这是会员号（受限，会记录）", "This is a member id (restricted, noted)"),
    purpose=Text("用途（会被记录）", "What for (it is noted)"),
    find=Text("查找", "Find"),
    reveal=Text("查看明文", "Show in clear"),
    member=Text("会员", "Member"),
    visitor=Text("访客", "Visitor"),
    history=Text("近期变化", "What changed"),
)  # fmt: skip
